package scenario

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// helmRecord prints what Helm's storage tells of a revision, without its chart.
func helmRecord(ts *testscript.TestScript, s *story, args []string) error {
	if len(args) != 2 {
		return errUsage
	}
	field, err := read(s, fmt.Sprintf("secret/sh.helm.release.v1.%s.v%s", args[0], args[1]), ".data.release")
	if err != nil {
		return err
	}
	packed := []byte(field)
	for range 2 { // a Secret's own encoding, and Helm's
		plain := make([]byte, base64.StdEncoding.DecodedLen(len(packed)))
		n, err := base64.StdEncoding.Decode(plain, packed)
		if err != nil {
			return err
		}
		packed = plain[:n]
	}
	text, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return err
	}
	const most = 16 << 20
	content, err := io.ReadAll(io.LimitReader(text, most))
	if err != nil {
		return err
	}
	record := map[string]any{}
	if err := json.Unmarshal(content, &record); err != nil {
		return err
	}
	delete(record, "chart")
	shown, err := json.MarshalIndent(record, "", "  ")
	if err != nil {
		return err
	}
	fmt.Fprintln(ts.Stdout(), string(shown))
	return nil
}

// describeCluster writes a ConfigMap that describes the story's own cluster as one
// that trusts its own service accounts.
func describeCluster(_ *testscript.TestScript, s *story, args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	th, err := s.stage()
	if err != nil {
		return err
	}
	cfg, err := th.plane.Config()
	if err != nil {
		return err
	}
	data := map[string]any{"provider": "generic", "address": cfg.Host, "ca.crt": string(cfg.CAData)}
	for _, arg := range args[1:] {
		key, value, ok := strings.Cut(arg, "=")
		if !ok {
			return errUsage
		}
		data[key] = value
	}
	ctx, done := limit(awaitLimit)
	defer done()
	return th.kube.Apply(ctx, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"name": args[0], "namespace": s.known["NS"]},
		"data":     data,
	}}, storyManager)
}
