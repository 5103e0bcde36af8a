package journal_test

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"plumb.dev/plumb/internal/journal"
	"plumb.dev/plumb/internal/journal/journaltest"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

func TestMain(m *testing.M) {
	if path := os.Getenv("JOURNAL_TEST_VICTIM"); path != "" {
		victim(path)
		return
	}
	os.Exit(m.Run())
}

func TestConformance(t *testing.T) {
	var directories sync.Map
	journaltest.Run(t, func(t *testing.T, name string) journaltest.Journal {
		directory, _ := directories.LoadOrStore(name, t.TempDir())
		return open(t, filepath.Join(directory.(string), "sub", "jour?nal #1.db"))
	})
}

func open(t testing.TB, path string, options ...journal.Option) *journal.Journal {
	t.Helper()
	j, err := journal.Open(t.Context(), path, append([]journal.Option{journal.OnError(func(err error) {
		if err != nil {
			t.Errorf("reported: %v", err)
		}
	})}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return j
}

var (
	someDelivery = object.ID{Group: "kustomize.toolkit.fluxcd.io", Kind: "Kustomization", Namespace: "flux-system", Name: "apps"}
	hmac         = strings.Repeat("0123456789abcdef", 4)
)

func someObject(i int) object.ID {
	return object.ID{Group: "apps", Kind: "Deployment", Namespace: fmt.Sprintf("team-%d", i/5), Name: fmt.Sprintf("application-%d", i)}
}

func someBaseline(i int) model.Baseline {
	return model.Baseline{
		UID: fmt.Sprintf("6f3f8a0e-6d0a-4c55-8f0d-%012d", i), ResourceVersion: strconv.Itoa(i),
		Inputs: "sha256:" + hmac, Paths: "sha256:" + hmac, Cut: hmac,
	}
}

func count(t testing.TB, j *journal.Journal) int {
	t.Helper()
	n := 0
	err := j.LoadBaselines(t.Context(), func(string, object.ID, object.ID, string, model.Baseline) error { n++; return nil })
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestInMemory(t *testing.T) {
	j := open(t, "")
	j.Put("", someDelivery, someObject(1), "v1", someBaseline(1))
	if got := count(t, j); got != 1 {
		t.Errorf("%d baselines", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 10 { // what a caller gives up on must not take the database with it
		_ = j.LoadBaselines(ctx, func(string, object.ID, object.ID, string, model.Baseline) error { return nil })
	}
	if got := count(t, j); got != 1 {
		t.Errorf("%d baselines", got)
	}
	if got := count(t, open(t, "")); got != 0 {
		t.Errorf("another journal in memory has %d baselines", got)
	}
	if j.Notice() != "" {
		t.Errorf("notice: %s", j.Notice())
	}
}

func TestRelativePath(t *testing.T) {
	t.Chdir(t.TempDir())
	j := open(t, "journal.db")
	j.Put("", someDelivery, someObject(1), "v1", someBaseline(1))
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat("journal.db"); err != nil || info.Size() == 0 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestFilesArePrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "journal.db")
	j := open(t, path)
	j.Put("", someDelivery, someObject(1), "v1", someBaseline(1))
	if err := j.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, tail := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(path + tail)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", tail, info.Mode())
		}
	}
}

// TestDamagedFile tries several ways in which a file can be no journal any more.
func TestDamagedFile(t *testing.T) {
	damages := map[string]func(t *testing.T, path string){
		"text": func(t *testing.T, path string) { write(t, path, []byte(strings.Repeat("this is no database\n", 1000))) },
		"torn pages": func(t *testing.T, path string) {
			data := read(t, path)
			copy(data[4096:], bytes.Repeat([]byte{0xa5}, len(data)-4096))
			write(t, path, data)
		},
		"cut short": func(t *testing.T, path string) { write(t, path, read(t, path)[:5000]) },
		"torn header": func(t *testing.T, path string) {
			data := read(t, path)
			copy(data[16:100], make([]byte, 84))
			write(t, path, data)
		},
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "journal.db")
			j := open(t, path)
			for i := range 200 {
				j.Put("", someDelivery, someObject(i), "v1", someBaseline(i))
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			damage(t, path)
			broken := read(t, path)
			write(t, path+".damaged", []byte("of an earlier time"))

			j = open(t, path)
			if !strings.Contains(j.Notice(), "is damaged") || !strings.Contains(j.Notice(), path+".damaged") || strings.Contains(j.Notice(), "\n") {
				t.Errorf("notice: %q", j.Notice())
			}
			if got := count(t, j); got != 0 {
				t.Errorf("%d baselines", got)
			}
			j.Put("", someDelivery, someObject(1), "v1", someBaseline(1))
			if got := count(t, j); got != 1 {
				t.Errorf("%d baselines after a put", got)
			}
			if !bytes.Equal(read(t, path+".damaged"), broken) {
				t.Error("the damaged file was not kept")
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			if again := open(t, path); again.Notice() != "" || count(t, again) != 1 {
				t.Errorf("opening again: %q", again.Notice())
			}
		})
	}
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestNewerSchemaMakesWay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	if err := open(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	raw(t, path, "PRAGMA user_version = 99")
	j := open(t, path)
	if !strings.Contains(j.Notice(), "newer version of Plumb (schema 99") || !strings.Contains(j.Notice(), path+".newer") {
		t.Errorf("notice: %q", j.Notice())
	}
	if _, err := os.Stat(path + ".newer"); err != nil {
		t.Error(err)
	}
}

func TestForeignDatabaseIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "other.db")
	raw(t, path, "CREATE TABLE theirs (x)")
	_, err := journal.Open(t.Context(), path)
	var fault *model.Fault
	if !errors.As(err, &fault) || !strings.Contains(err.Error(), "another application") || fault.Advice == "" {
		t.Errorf("got %v", err)
	}
	raw(t, path, "INSERT INTO theirs VALUES (1)")
}

func raw(t *testing.T, path, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(statement); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestUnusablePath(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, nil)
	for _, path := range []string{filepath.Join(file, "journal.db"), t.TempDir()} {
		_, err := journal.Open(t.Context(), path)
		var fault *model.Fault
		if !errors.As(err, &fault) || fault.Advice == "" || fault.Reason == "" {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestFullDisk fills a bounded database and then makes room.
func TestFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	reports := make(chan error, 100)
	j, err := journal.Open(t.Context(), path, journal.MaxBytes(128<<10), journal.OnError(func(err error) { reports <- err }))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		j.Put("", someDelivery, someObject(i), "v1", someBaseline(i))
	}
	var failure error
	for range 3 {
		if failure = j.Flush(t.Context()); failure == nil {
			t.Fatal("a thousand baselines went into 128 KiB")
		}
	}
	var fault *model.Fault
	if !errors.As(failure, &fault) || !strings.Contains(fault.Advice, "free space") {
		t.Errorf("got %v", failure)
	}
	if got := count(t, j); got != 0 {
		t.Errorf("%d of a batch that failed are stored", got)
	}
	for i := range 990 { // less is wanted, and what was said before is not lost
		j.Remove("", someDelivery, someObject(i))
	}
	if err := j.Flush(t.Context()); err != nil {
		t.Errorf("with room again: %v", err)
	}
	if got := count(t, j); got != 10 {
		t.Errorf("%d baselines, want 10", got)
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	close(reports)
	var seen []string
	for err := range reports {
		seen = append(seen, fmt.Sprint(err))
	}
	if len(seen) != 2 || !strings.Contains(seen[0], "full") || seen[1] != "<nil>" {
		t.Errorf("reports: %q", seen)
	}
}

func TestCloseTellsWhatIsLost(t *testing.T) {
	j, err := journal.Open(t.Context(), filepath.Join(t.TempDir(), "journal.db"), journal.MaxBytes(128<<10))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		j.Put("", someDelivery, someObject(i), "v1", someBaseline(i))
	}
	if err := j.Close(); err == nil {
		t.Error("no error")
	}
}

// victim writes until it is killed, and says what it has been promised.
func victim(path string) {
	fail := func(err error) {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	j, err := journal.Open(context.Background(), path)
	if err != nil {
		fail(err)
	}
	for i := 0; ; i++ {
		j.Put("", someDelivery, someObject(i%50), strconv.Itoa(i), someBaseline(i))
		j.Record(journal.History{Delivery: someDelivery, At: time.Unix(int64(i), 0), Revision: strconv.Itoa(i)})
		if i%10 == 0 {
			if err := j.Flush(context.Background()); err != nil {
				fail(err)
			}
			fmt.Println(i)
		}
	}
}

// TestKilled kills a writer again and again, each time a little later. What
// was flushed is there, and nothing that was never said.
func TestKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	for round := range 6 {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), "JOURNAL_TEST_VICTIM="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		promised := -1
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			promised, err = strconv.Atoi(lines.Text())
			if err != nil {
				t.Fatal(lines.Text())
			}
			if n == 3+round*7 {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("the writer was not killed")
		}
		j := open(t, path)
		if j.Notice() != "" {
			t.Fatalf("round %d: %s", round, j.Notice())
		}
		last := -1
		err = j.LoadBaselines(t.Context(), func(_ string, _, id object.ID, version string, b model.Baseline) error {
			i, err := strconv.Atoi(version)
			if err != nil {
				return err
			}
			last = max(last, i)
			if id != someObject(i%50) || b != someBaseline(i) {
				return fmt.Errorf("%v has the baseline of another time", id)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if last < promised {
			t.Errorf("round %d: %d was flushed, but %d is the last", round, promised, last)
		}
		entries, err := j.History(t.Context(), someDelivery, 1)
		if err != nil || len(entries) != 1 || entries[0].Revision != strconv.Itoa(last) {
			t.Errorf("round %d: history ends with %v (%v), the baselines with %d", round, entries, err, last)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSizes measures what 2,500 baselines cost; the log shows the figures.
func TestSizes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	before := anonymous(t)
	j := open(t, path)
	for round := range 4 {
		for i := range 2500 {
			j.Put("", someDelivery, someObject(i), "v1", someBaseline(i+round))
		}
		if err := j.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 2000 {
		j.Record(journal.History{Delivery: someObject(i % 500), Message: hmac})
	}
	if got := count(t, j); got != 2500 {
		t.Errorf("%d baselines", got)
	}
	after := anonymous(t)
	size := int64(0)
	for _, tail := range []string{"", "-wal"} {
		info, err := os.Stat(path + tail)
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	t.Logf("%d KiB on disk, %d KiB of memory", size>>10, (after-before)>>10)
	if size > 6<<20 {
		t.Errorf("%d bytes on disk", size)
	}
}

// anonymous is the anonymous memory of this process in bytes, or 0 where the
// system does not tell.
func anonymous(t *testing.T) int64 {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "RssAnon:" {
			kib, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	return 0
}

func BenchmarkSave2500(b *testing.B) {
	j := open(b, filepath.Join(b.TempDir(), "journal.db"))
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		for i := range 2500 {
			j.Put("", someDelivery, someObject(i), "v1", someBaseline(i+n))
		}
		if err := j.Flush(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLoad2500(b *testing.B) {
	j := open(b, filepath.Join(b.TempDir(), "journal.db"))
	for i := range 2500 {
		j.Put("", someDelivery, someObject(i), "v1", someBaseline(i))
	}
	b.ReportAllocs()
	for b.Loop() {
		if count(b, j) != 2500 {
			b.Fatal("some are missing")
		}
	}
}

func BenchmarkOpen2500(b *testing.B) {
	path := filepath.Join(b.TempDir(), "journal.db")
	j := open(b, path)
	for i := range 2500 {
		j.Put("", someDelivery, someObject(i), "v1", someBaseline(i))
	}
	if err := j.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := open(b, path).Close(); err != nil {
			b.Fatal(err)
		}
	}
}
