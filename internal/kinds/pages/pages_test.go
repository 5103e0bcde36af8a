package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPagesAreCurrent compares the committed pages with what the table says.
func TestPagesAreCurrent(t *testing.T) {
	all, err := pages()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range all {
		got, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", filepath.FromSlash(name)))
		if err != nil {
			t.Error(err)
			continue
		}
		if string(got) != want {
			t.Errorf("docs/%s is not what the table says: run go generate ./internal/kinds", name)
		}
		if strings.Contains(want, "{{") {
			t.Errorf("docs/%s has a table that nobody fills in", name)
		}
	}
}

func TestWriteMakesEveryPage(t *testing.T) {
	dir := t.TempDir()
	if err := write(dir); err != nil {
		t.Fatal(err)
	}
	all, err := pages()
	if err != nil {
		t.Fatal(err)
	}
	for name := range all {
		if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name))); err != nil {
			t.Error(err)
		}
	}
}
