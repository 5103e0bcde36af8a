package cli

import (
	"context"
	"errors"
	"strconv"

	"github.com/spf13/cobra"

	"plumb.dev/plumb/internal/api/plumbv1"
)

// clusterLine is one cluster as a server of Plumb tells of it.
type clusterLine struct {
	Name       string `json:"name"`
	Server     string `json:"server,omitempty"`
	Version    string `json:"version,omitempty"` // of Kubernetes
	Health     string `json:"health"`            // of the connection
	Message    string `json:"message,omitempty"`
	Deliveries int    `json:"deliveries"` // that the caller may see
	Unhealthy  int    `json:"unhealthy"`  // of them
}

func (a *app) getClustersCommand(flags *getFlags) *cobra.Command {
	return &cobra.Command{
		Use:     "clusters",
		Aliases: []string{"cluster"},
		Short:   "List the clusters that a server of Plumb delivers to",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := a.within(cmd.Context())
			defer cancel()
			return a.getClusters(ctx, *flags)
		},
	}
}

func (a *app) getClusters(ctx context.Context, flags getFlags) error {
	if err := flags.validate(true); err != nil {
		return err
	}
	p, err := a.place()
	if err != nil {
		return err
	}
	at, served := p.(*atServer)
	if !served {
		return advise(errors.New("a kubeconfig knows its own cluster only: a server of Plumb knows those that it delivers to"), "sign in to one with: plumb login SERVER")
	}
	told, err := at.client.Fleet.ListClusters(ctx, &plumbv1.ListClustersRequest{})
	if err != nil {
		return at.told(err)
	}
	lines := make([]clusterLine, 0, len(told.GetClusters()))
	for _, c := range told.GetClusters() {
		lines = append(lines, clusterLine{
			Name: c.GetName(), Server: c.GetServer(), Version: c.GetVersion(), Health: c.GetHealth().GetState(), Message: c.GetHealth().GetMessage(),
			Deliveries: int(c.GetDeliveries()), Unhealthy: int(c.GetUnhealthy()),
		})
	}
	return a.printClusters(flags, lines)
}

func (a *app) printClusters(flags getFlags, lines []clusterLine) error {
	switch flags.output {
	case "json", "yaml":
		return a.printDocument(flags.output, lines)
	case "name":
		for _, l := range lines {
			if err := a.out("cluster/%s\n", oneLine(l.Name)); err != nil {
				return err
			}
		}
		return nil
	}
	t := table{
		header: []string{"Name", "Server", "Version", "Health", "Deliveries", "Unhealthy", "Message"}, headless: flags.noHeader,
		color: colored(a.streams.Out, a.streams.Getenv),
	}
	for _, l := range lines {
		t.rows = append(t.rows, []string{l.Name, l.Server, l.Version, l.Health, strconv.Itoa(l.Deliveries), strconv.Itoa(l.Unhealthy), l.Message})
	}
	return t.write(a.streams.Out)
}
