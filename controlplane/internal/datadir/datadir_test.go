package datadir

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestDirectoryBelongsToOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "data")
	first, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	// The kernel tells apart two openings of one file, even in one process.
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "is in use by process") {
		t.Errorf("opened twice: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := Open(path)
	if err != nil {
		t.Fatalf("after it was given up: %v", err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
}

func TestPortIsRemembered(t *testing.T) {
	dir, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = dir.Close() }()
	if port := dir.Port(); port != 0 {
		t.Errorf("a new directory remembers port %d", port)
	}
	if err := dir.SavePort(6443); err != nil {
		t.Fatal(err)
	}
	if port := dir.Port(); port != 6443 {
		t.Errorf("port %d", port)
	}
	if err := os.WriteFile(dir.Path("port"), []byte("no number"), 0o600); err != nil {
		t.Fatal(err)
	}
	if port := dir.Port(); port != 0 {
		t.Errorf("a spoilt file gives port %d", port)
	}
}

func TestEphemeralDirectoryGoes(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	abandoned, young := leftBehind(t, 2*sweepAge), leftBehind(t, 0)
	used, err := OpenEphemeral()
	if err != nil {
		t.Fatal(err)
	}
	age(t, used.Path(), 2*sweepAge)
	dir, err := OpenEphemeral()
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{abandoned: false, young: true, used.Path(): true, dir.Path(): true} {
		if _, err := os.Stat(path); (err == nil) != want {
			t.Errorf("%s is there: %t", path, !want)
		}
	}
	if err := dir.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir.Path()); err == nil {
		t.Error("an ephemeral directory stayed behind")
	}
}

// leftBehind makes the directory of a process that was killed.
func leftBehind(t *testing.T, ago time.Duration) string {
	t.Helper()
	path, err := os.MkdirTemp("", ephemeralPattern)
	if err != nil {
		t.Fatal(err)
	}
	age(t, path, ago)
	return path
}

func age(t *testing.T, path string, ago time.Duration) {
	t.Helper()
	then := time.Now().Add(-ago)
	if err := os.Chtimes(path, then, then); err != nil {
		t.Fatal(err)
	}
}
