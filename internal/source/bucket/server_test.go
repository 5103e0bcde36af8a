package bucket

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/source/bucket/s3test"
	"plumb.dev/plumb/internal/source/faulttest"
)

// startServer starts the S3 server that PLUMB_S3SERVER names, a build of
// github.com/versity/versitygw/cmd/versitygw, over an empty directory, and
// returns its address.
func startServer(t *testing.T) string {
	t.Helper()
	binary := os.Getenv("PLUMB_S3SERVER")
	if binary == "" {
		t.Fatal("PLUMB_S3SERVER does not name a versitygw: run \"make unit\", which builds one into bin/tools, or export PLUMB_S3SERVER=$PWD/bin/tools/versitygw-v1.8.0")
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	server := exec.Command(binary, "--port", address, "posix", "--sidecar", t.TempDir(), t.TempDir())
	server.Env = append(os.Environ(), "ROOT_ACCESS_KEY=key", "ROOT_SECRET_KEY=the-secret-key")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		if connection, err := net.Dial("tcp", address); err == nil {
			_ = connection.Close()
			return address
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("the S3 server does not start")
	return ""
}

func TestRealServer(t *testing.T) {
	address := startServer(t)
	writer, err := minio.New(address, &minio.Options{Creds: credentials.NewStaticV4("key", "the-secret-key", "")})
	if err != nil {
		t.Fatal(err)
	}
	if err := writer.MakeBucket(t.Context(), "things", minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	put := func(key, content string) {
		t.Helper()
		if _, err := writer.PutObject(t.Context(), "things", key, strings.NewReader(content), int64(len(content)), minio.PutObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	const many = 1234 // more than a page holds
	for i := range many {
		put(fmt.Sprintf("app/%04d.yaml", i), fmt.Sprint(i))
	}
	put("app/ä & ö+.yaml", "umlaut")
	put("other", "o")

	c := New(Options{})
	spec := &model.BucketSource{
		Provider: providerGeneric, Name: "things", Endpoint: address, Prefix: "app/",
		Auth: model.HTTPAuth{Plain: true, Username: "key", Password: model.NewSecret([]byte("the-secret-key"))},
	}
	before, err := c.List(t.Context(), spec, 2*many)
	if err != nil {
		t.Fatal(err)
	}
	if len(before) != many+1 || before[7].Key != "app/0007.yaml" || before[7].ETag != s3test.ETag("7") || before[7].Size != 1 {
		t.Fatalf("%d objects, %+v", len(before), before[7])
	}
	if got := content(t, c, spec, "app/ä & ö+.yaml"); got != "umlaut" {
		t.Error(got)
	}
	put("app/0007.yaml", "changed")
	after, err := c.List(t.Context(), spec, 2*many)
	if err != nil {
		t.Fatal(err)
	}
	for i := range after {
		if changed := after[i].ETag != before[i].ETag; changed != (i == 7) {
			t.Errorf("%s changed: %t", after[i].Key, changed)
		}
	}
	if _, err := c.Get(t.Context(), spec, "app/gone"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an object that is gone: %v", err)
	}
	_, err = c.List(t.Context(), spec, many)
	faulttest.Expect(t, err, reasonOperationFailed, "more than 1234")
	spec.Auth.Password = model.NewSecret([]byte("the-secret-guess"))
	_, err = c.List(t.Context(), spec, 10)
	faulttest.Expect(t, err, reasonOperationFailed, "check the credentials")
	spec.Name, spec.Auth.Password = "nowhere", model.NewSecret([]byte("the-secret-key"))
	_, err = c.List(t.Context(), spec, 10)
	faulttest.Expect(t, err, reasonOperationFailed, "bucket 'nowhere' not found")
}
