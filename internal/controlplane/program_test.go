//go:build unix

package controlplane

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFindLooksInOrder(t *testing.T) {
	root := t.TempDir()
	checkout := filepath.Join(root, "checkout")
	inCheckout := program(t, filepath.Join(checkout, "bin"))
	write(t, filepath.Join(checkout, "go.mod"), "module plumb.dev/plumb\n\ngo 1.26\n")
	onPath := program(t, filepath.Join(root, "path"))
	byVariable := program(t, filepath.Join(root, "variable"))
	inside := filepath.Join(checkout, "some", "where")
	if err := os.MkdirAll(inside, 0o700); err != nil {
		t.Fatal(err)
	}

	t.Chdir(inside)
	t.Setenv("PATH", filepath.Dir(onPath))
	t.Setenv(ProgramVariable, byVariable)
	expectFound(t, byVariable)
	t.Setenv(ProgramVariable, "")
	expectFound(t, inCheckout)
	t.Chdir(root)
	expectFound(t, onPath)
}

func TestFindRunsNothingOfAForeignRepository(t *testing.T) {
	root := t.TempDir()
	program(t, filepath.Join(root, "bin"))
	write(t, filepath.Join(root, "go.mod"), "module example.com/other\n")
	t.Chdir(root)
	t.Setenv("PATH", root)
	t.Setenv(ProgramVariable, "")
	if path, err := Find(); err == nil {
		t.Errorf("found %s", path)
	}
}

func TestFindSaysHowToBuild(t *testing.T) {
	empty := t.TempDir()
	t.Chdir(empty)
	t.Setenv("PATH", empty)
	for _, variable := range []string{"", filepath.Join(empty, "gone")} {
		t.Setenv(ProgramVariable, variable)
		_, err := Find()
		if !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), BuildCommand) {
			t.Errorf("$%s=%q: got %v", ProgramVariable, variable, err)
		}
	}
}

func TestFindPrefersTheSibling(t *testing.T) {
	directory := t.TempDir()
	sibling := program(t, directory)
	self := filepath.Join(directory, "plumb")
	write(t, self, "")
	link := filepath.Join(t.TempDir(), "plumb")
	if err := os.Symlink(self, link); err != nil {
		t.Fatal(err)
	}
	for _, started := range []string{self, link} {
		path, ok := besides(started)
		if !ok || !sameFile(t, path, sibling) {
			t.Errorf("beside %s: %q", started, path)
		}
	}
}

// The two programs are built apart, so nothing but this test keeps the numbers
// and the command together.
func TestAgreementWithTheNestedModule(t *testing.T) {
	nested := filepath.Join("..", "..", "controlplane")
	version := read(t, filepath.Join(nested, "version.go"))
	if !strings.Contains(version, "const Protocol = 1\n") || Protocol != 1 {
		t.Error("the two sides speak different protocols")
	}
	manual := read(t, filepath.Join(nested, "main.go"))
	if command := strings.Trim(BuildCommand, "()"); !strings.Contains(manual, command) {
		t.Errorf("the manual of the nested module does not name the command\n%s", command)
	}
	kubernetes := "k8s.io/kubernetes v"
	_, rest, found := strings.Cut(read(t, filepath.Join(nested, "go.mod")), kubernetes)
	number, _, _ := strings.Cut(rest, "\n")
	if !found || !strings.Contains(read(t, filepath.Join(nested, "ldflags.txt")), "version.gitVersion=v"+number+" ") {
		t.Errorf("ldflags.txt does not name the version in go.mod, v%s", number)
	}
}

func expectFound(t *testing.T, want string) {
	t.Helper()
	got, err := Find()
	if err != nil {
		t.Fatal(err)
	}
	if !sameFile(t, got, want) {
		t.Errorf("found %s, want %s", got, want)
	}
}

func sameFile(t *testing.T, one, other string) bool {
	t.Helper()
	first, err := os.Stat(one)
	if err != nil {
		t.Fatal(err)
	}
	second, err := os.Stat(other)
	if err != nil {
		t.Fatal(err)
	}
	return os.SameFile(first, second)
}

func program(t *testing.T, directory string) string {
	t.Helper()
	path := filepath.Join(directory, ProgramName)
	write(t, path, "#!/bin/sh\n")
	if err := os.Chmod(path, 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
