package cli

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestColorsAreForTerminals(t *testing.T) {
	var b bytes.Buffer
	if colored(&b, func(string) string { return "" }) {
		t.Error("a buffer is no terminal")
	}
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	if colored(file, func(string) string { return "" }) {
		t.Error("a file is no terminal")
	}
	if got := paint(true, red, "x"); got != "\x1b[31mx\x1b[0m" {
		t.Errorf("%q", got)
	}
}

func TestPrintableDisarmsTerminals(t *testing.T) {
	if got := printable("a\x1b[31mb\u202ec\td\n\x07"); got != "a[31mbc\td\n" {
		t.Errorf("%q", got)
	}
	if got := oneLine("a\nb\r\nc\td"); got != "a b c d" {
		t.Errorf("%q", got)
	}
}

func TestWithoutCredentials(t *testing.T) {
	for in, want := range map[string]string{
		"https://user:pass@host/x":  "https://host/x",
		"https://token@host/x":      "https://host/x",
		"ssh://git@host/x":          "ssh://git@host/x",
		"ssh://git:pass@host/x":     "ssh://host/x",
		"http://127.0.0.1:1/a.git":  "http://127.0.0.1:1/a.git",
		"https://host/?access=free": "https://host/?access=free",
	} {
		if got := withoutCredentials(in); got != want {
			t.Errorf("%s: %s, wanted %s", in, got, want)
		}
	}
}

func TestRememberedAddr(t *testing.T) {
	file := filepath.Join(t.TempDir(), "below", "addr")
	addr, remember := rememberedAddr(file)
	if addr != "127.0.0.1:0" {
		t.Errorf("at first %q", addr)
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	remember(listener.Addr().String())
	if got, _ := rememberedAddr(file); got != "127.0.0.1:0" {
		t.Errorf("while it is taken: %q", got)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	if got, _ := rememberedAddr(file); got != listener.Addr().String() {
		t.Errorf("when it is free: %q, wanted %s", got, listener.Addr())
	}
	if err := os.WriteFile(file, []byte("0.0.0.0:80\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, _ := rememberedAddr(file); got != "127.0.0.1:0" {
		t.Errorf("an address that is not loopback: %q", got)
	}
}

func TestNamesOfRepositories(t *testing.T) {
	s := newStage(newApp(Streams{Err: &bytes.Buffer{}}), upHome{"/data"}, upFlags{})
	for _, c := range []struct{ directory, url, want string }{
		{"/srv/Fleet Infra.git", "", "fleet-infra"},
		{"", "https://example.com/org/apps.git", "apps"},
		{"", "https://example.com/org/apps/", "apps-2"},
		{"/data/repository", "", "sample"},
		{"/___", "", "repository"},
	} {
		r := upRepository{Directory: c.directory, URL: c.url}
		r.Name = s.freeName(r)
		if r.Name != c.want {
			t.Errorf("%s%s is called %q, wanted %q", c.directory, c.url, r.Name, c.want)
		}
		s.state.Repositories = append(s.state.Repositories, r)
	}
}

func TestUpRefusesAddressesThatItWouldSpill(t *testing.T) {
	for repo, want := range map[string]string{
		"https://user:pass@example.com/x.git": "password",
		"git@example.com:org/x.git":           "ssh://git@example.com/org/x.git",
	} {
		s := newStage(newApp(Streams{Err: &bytes.Buffer{}}), upHome{t.TempDir()}, upFlags{})
		err := s.addRepository(t.Context(), repo)
		if err == nil || !strings.Contains(err.Error()+adviceFor(err), want) {
			t.Errorf("%s: %v (%s)", repo, err, adviceFor(err))
		}
	}
}

// TestStatusAndDownWithoutAnything need neither a cluster nor a home.
func TestStatusAndDownWithoutAnything(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"status", exitFailed, "not up"},
		{"status -o json", exitFailed, `"running": false`},
		{"down", exitOK, "not up"},
		{"down --purge", exitOK, "purged"},
	} {
		var out bytes.Buffer
		code := Run(t.Context(), append(strings.Fields(c.args), "--data-dir", dir), Streams{Out: &out, Err: &out, Getenv: func(string) string { return "" }})
		if code != c.code || !strings.Contains(out.String(), c.says) {
			t.Errorf("%s: exit %d, %q", c.args, code, out.String())
		}
	}
	var out bytes.Buffer
	if code := Run(t.Context(), []string{"up"}, Streams{Out: &out, Err: &out, Getenv: func(string) string { return "" }}); code != exitFailed || !strings.Contains(out.String(), "--data-dir") {
		t.Errorf("without a home: exit %d, %q", code, out.String())
	}
}

// TestLockIsHeldByOne is what keeps two plumb up apart.
func TestLockIsHeldByOne(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lock")
	lock, held, err := hold(file)
	if err != nil || held {
		t.Fatal(held, err)
	}
	if _, held, err := hold(file); err != nil || !held {
		t.Errorf("a second one gets it: %v, %v", held, err)
	}
	if held, err := isHeld(file); err != nil || !held {
		t.Errorf("held: %v, %v", held, err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	if held, err := isHeld(file); err != nil || held {
		t.Errorf("after it is released: %v, %v", held, err)
	}
}

func TestAdviceWithoutAKubeconfig(t *testing.T) {
	var errs bytes.Buffer
	code := Run(t.Context(), []string{"get", "all"}, Streams{Out: &errs, Err: &errs, Getenv: func(string) string { return "" }})
	if code != exitFailed || !strings.Contains(errs.String(), "plumb up") {
		t.Errorf("exit %d: %s", code, errs.String())
	}
}
