// Package flagset configures a Kubernetes component by its documented command
// line, which is more stable than its option structs.
package flagset

import (
	"fmt"

	"github.com/spf13/pflag"
	cliflag "k8s.io/component-base/cli/flag"
)

// Parse applies arguments to the flags of a component.
func Parse(groups cliflag.NamedFlagSets, arguments []string) error {
	all := pflag.NewFlagSet("component", pflag.ContinueOnError)
	for _, group := range groups.FlagSets {
		all.AddFlagSet(group)
	}
	if err := all.Parse(arguments); err != nil {
		return fmt.Errorf("command line: %w", err)
	}
	return nil
}
