package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	kubeversion "k8s.io/component-base/version"
)

// Protocol is the version of the agreement between this program and the one
// that starts it: flags, ready line and version output. It grows with every
// change that an older parent would misunderstand.
const Protocol = 1

// version is Plumb's own, set by the linker in releases.
var version = "dev"

// Versions is what `version -o json` prints.
type Versions struct {
	Version    string `json:"version"`
	Protocol   int    `json:"protocol"`
	Kubernetes string `json:"kubernetes"`
}

func versions() Versions {
	return Versions{Version: version, Protocol: Protocol, Kubernetes: kubeversion.Get().GitVersion}
}

func newVersionCommand() *cobra.Command {
	var output string
	command := &cobra.Command{
		Use:   "version",
		Short: "Print the versions of this program, its protocol and Kubernetes",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return printVersions(command.OutOrStdout(), output)
		},
	}
	command.Flags().StringVarP(&output, "output", "o", "", "output format: json, or empty for text")
	return command
}

func printVersions(out io.Writer, format string) error {
	v := versions()
	switch format {
	case "json":
		return json.NewEncoder(out).Encode(v)
	case "":
		_, err := fmt.Fprintf(out, "plumb-controlplane %s, protocol %d, Kubernetes %s\n", v.Version, v.Protocol, v.Kubernetes)
		return err
	default:
		return fmt.Errorf("output format %q: use json, or leave it out", format)
	}
}
