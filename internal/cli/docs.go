package cli

import (
	"fmt"
	"os"
	"sort"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

//go:generate go run ../../cmd/plumb docs --write ../../docs/cli.md

// docsCommand prints the reference of all commands. Hidden: it serves those
// who build Plumb.
func (a *app) docsCommand() *cobra.Command {
	file := ""
	command := &cobra.Command{
		Use:    "docs",
		Short:  "Print the reference of all commands as Markdown",
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			page := commandReference(cmd.Root())
			if file == "" {
				return a.out("%s", page)
			}
			return os.WriteFile(a.path(file), []byte(page), 0o644)
		},
	}
	command.Flags().StringVar(&file, "write", "", "write to this `FILE` instead of standard output")
	return command
}

// commandReference describes every command that help shows.
func commandReference(root *cobra.Command) string {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	var b strings.Builder
	b.WriteString("# The plumb command line\n\n")
	b.WriteString("Written by `go generate ./internal/cli`; a test fails when it is out of date.\n\n")
	b.WriteString("Exit codes: 0 done, 1 failed. `plumb diff`: 0 no difference, 1 differences, 2 failed.\n\n")
	b.WriteString("Flags of every command:\n\n")
	writeFlags(&b, root.PersistentFlags())
	for _, command := range leaves(root) {
		writeCommand(&b, command)
	}
	return b.String()
}

// runsItself is the annotation of a command that does something by itself though
// others stand below it.
const runsItself = "runs-itself"

// leaves lists the commands that do something, in the order of their names.
func leaves(command *cobra.Command) []*cobra.Command {
	var found []*cobra.Command
	children := command.Commands()
	sort.Slice(children, func(i, j int) bool { return children[i].Name() < children[j].Name() })
	for _, child := range children {
		if child.Hidden || child.Name() == "help" {
			continue
		}
		if !child.HasSubCommands() || child.Annotations[runsItself] != "" {
			found = append(found, child)
		}
		found = append(found, leaves(child)...)
	}
	return found
}

func writeCommand(b *strings.Builder, command *cobra.Command) {
	fmt.Fprintf(b, "\n## %s\n\n", command.CommandPath())
	fmt.Fprintf(b, "```\n%s\n```\n\n", usage(command))
	long := command.Long
	if long == "" {
		long = command.Short + "."
	}
	if isShellScript(command) {
		long = command.Short + "."
	}
	b.WriteString(strings.TrimSpace(long) + "\n")
	if len(command.Aliases) > 0 {
		fmt.Fprintf(b, "\nAlso called: %s\n", strings.Join(command.Aliases, ", "))
	}
	if example := exampleOf(command); example != "" {
		fmt.Fprintf(b, "\n```sh\n%s\n```\n", unindent(example))
	}
	if command.LocalFlags().HasAvailableFlags() || inherited(command).HasAvailableFlags() {
		b.WriteString("\n")
		flags := inherited(command)
		flags.AddFlagSet(command.NonInheritedFlags())
		writeFlags(b, flags)
	}
}

// isShellScript reports whether cobra wrote the command; its long text is a
// lesson in shells.
func isShellScript(command *cobra.Command) bool {
	return command.HasParent() && command.Parent().Name() == "completion"
}

// exampleOf is the command's own example, else that of the nearest command
// above it that has one for all of its children.
func exampleOf(command *cobra.Command) string {
	for at := command; at.HasParent(); at = at.Parent() {
		if at.Example != "" {
			return at.Example
		}
	}
	return ""
}

// inherited are the flags from commands between the root and this one.
func inherited(command *cobra.Command) *pflag.FlagSet {
	set := pflag.NewFlagSet("", pflag.ContinueOnError)
	set.SortFlags = true
	for at := command.Parent(); at != nil && at.HasParent(); at = at.Parent() {
		set.AddFlagSet(at.PersistentFlags())
	}
	return set
}

func writeFlags(b *strings.Builder, flags *pflag.FlagSet) {
	b.WriteString("| flag | meaning |\n| --- | --- |\n")
	flags.VisitAll(func(flag *pflag.Flag) {
		if flag.Hidden || flag.Name == "help" {
			return
		}
		name := "`--" + flag.Name + "`"
		if flag.Shorthand != "" {
			name = "`-" + flag.Shorthand + "`, " + name
		}
		kind, usage := pflag.UnquoteUsage(flag)
		if kind != "" {
			name += " " + kind
		}
		usage = strings.TrimSpace(strings.ReplaceAll(usage, "|", "\\|"))
		if shown := defaultOf(flag); shown != "" {
			usage += " (default " + shown + ")"
		}
		fmt.Fprintf(b, "| %s | %s |\n", name, usage)
	})
}

// defaultOf is a default worth showing.
func defaultOf(flag *pflag.Flag) string {
	switch flag.DefValue {
	case "", "false", "0", "0s", "[]":
		return ""
	}
	return flag.DefValue
}

func unindent(example string) string {
	lines := strings.Split(example, "\n")
	for i := range lines {
		lines[i] = strings.TrimPrefix(lines[i], "  ")
	}
	return strings.Join(lines, "\n")
}
