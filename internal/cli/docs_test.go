package cli

import (
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestReferenceIsCurrent(t *testing.T) {
	want, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	a := newApp(Streams{Getenv: func(string) string { return "" }})
	if got := commandReference(a.root()); got != string(want) {
		t.Error("docs/cli.md is out of date: run go generate ./internal/cli")
	}
}

// TestEveryCommandExplainsItself keeps the help complete: each command says in
// a sentence what it does and has an example, of its own or above it, that
// names it.
func TestEveryCommandExplainsItself(t *testing.T) {
	root := newApp(Streams{Getenv: func(string) string { return "" }}).root()
	for _, command := range leaves(root) {
		path := command.CommandPath()
		if command.Short == "" || strings.HasSuffix(command.Short, ".") {
			t.Errorf("%s: the short text is %q; wanted a line without a full stop", path, command.Short)
		}
		if exampleOf(command) == "" && command.Name() != "version" {
			t.Errorf("%s has no example", path)
		}
	}
}

// TestGuidesShowRealCommands runs every plumb line of the guides and the README
// as far as its flags and arguments are read.
func TestGuidesShowRealCommands(t *testing.T) {
	files := []string{"../../README.md"}
	entries, err := os.ReadDir("../../docs/guides")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		files = append(files, "../../docs/guides/"+entry.Name())
	}
	seen := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for n, line := range strings.Split(string(text), "\n") {
			line = strings.TrimPrefix(strings.TrimSpace(line), "$ ")
			if !strings.HasPrefix(line, "plumb ") {
				continue
			}
			seen++
			line, _, _ = strings.Cut(line, "  #")
			line, _, _ = strings.Cut(line, " > ")
			if err := parses(strings.Fields(line)[1:]); err != nil {
				t.Errorf("%s:%d: %s: %v", file, n+1, line, err)
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d commands found in the guides: is the test looking at the right lines?", seen)
	}
}

// parses reads a command line up to where it would begin to work.
func parses(args []string) error {
	root := newApp(Streams{Getenv: func(string) string { return "" }}).root()
	root.InitDefaultCompletionCmd()
	var stop func(*cobra.Command)
	stop = func(c *cobra.Command) {
		if c.RunE != nil && (!c.HasSubCommands() || c.Annotations[runsItself] != "") {
			c.RunE = func(*cobra.Command, []string) error { return nil }
		}
		for _, child := range c.Commands() {
			stop(child)
		}
	}
	stop(root)
	root.SetArgs(args)
	return root.Execute()
}
