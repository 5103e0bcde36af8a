package render

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// longestLook bounds a look at what a render wants: Applications have no timeout
// of their own.
const longestLook = 90 * time.Second

// Source is the implied source of what a render of an input of a delivery wants.
// The first place that the input knows for the address says how to get it. key
// keeps credentials out of the name: sources are the same that have the same
// address and the same credential.
func (w *Want) Source(reader *model.Delivery, in *model.Input, key []byte) (model.Source, error) {
	s := model.Source{
		Implied: true, Interval: reader.Policy.Interval, Timeout: longestLook,
		Origin: model.Origin{Dialect: reader.Origin.Dialect, Declared: reader.ID, Field: w.Field},
	}
	if t := reader.Policy.Timeout; t > 0 {
		s.Timeout = min(t, longestLook)
	}
	if s.Interval <= 0 {
		s.Interval = time.Hour
	}
	var place model.ChartPlace
	kind := "Repository"
	switch {
	case w.Chart != nil:
		c := *w.Chart
		at, found := placeOf(in.Charts, c.Repository)
		if alias, named := aliased(c.Repository); named {
			if !found {
				return s, &model.Fault{
					Reason: BuildFailed, Origin: s.Origin,
					Message: fmt.Sprintf("the chart %s is asked of the repository %q, which nobody declares", c.Name, alias), Advice: "declare a Helm repository of that name, or write its address",
				}
			}
			c.Repository = at.URL
		}
		place, kind = at, "Chart"
		address, oci := strings.CutPrefix(c.Repository, "oci://")
		version := c.Version
		if c.Devel && version == "" {
			version = ">0.0.0-0"
		}
		s.Chart = &model.ChartSource{Repository: address, OCI: oci, Auth: place.Auth, Name: c.Name, Version: version, Fresh: s.Interval}
	case w.Base != nil:
		place, _ = placeOf(in.Charts, w.Base.URL)
		s.Git = &model.GitSource{URL: w.Base.URL, Ref: model.GitRef{Revision: w.Base.Ref}, RecurseSubmodules: w.Base.Submodules}
		if place.Git != nil {
			s.Git.Auth = *place.Git
		}
	default:
		place, _ = placeOf(in.Charts, w.URL)
		s.External = &model.ExternalSource{URL: w.URL, Plain: true, Auth: place.Auth}
	}
	s.ID = object.ID{Group: "plumb.dev", Kind: kind, Namespace: reader.ID.Namespace, Name: object.Keyed(key, []byte(w.Key+"\x00"+fingerprint(&place)))}
	return s, nil
}

// placeOf is the first place that an address lies in, or that an alias names.
func placeOf(places []model.ChartPlace, address string) (model.ChartPlace, bool) {
	alias, named := aliased(address)
	for i := range places {
		p := &places[i]
		if named && p.Alias == alias || !named && liesIn(p.URL, address) {
			return *p, true
		}
	}
	return model.ChartPlace{}, false
}

// aliased reads "@name" and "alias:name" (Helm, "Chart dependencies").
func aliased(repository string) (string, bool) {
	if name, ok := strings.CutPrefix(repository, "@"); ok {
		return name, true
	}
	return strings.CutPrefix(repository, "alias:")
}

// liesIn reports whether an address is at or below another one: credentials of
// a host's path never go to another.
func liesIn(base, address string) bool {
	base, address = strings.TrimSuffix(base, "/"), strings.TrimSuffix(address, "/")
	return base != "" && (base == address || strings.HasPrefix(address, base+"/")) && !strings.Contains(address, "/../") && path.Clean("/"+address) != "/"
}

// fingerprint tells places with other credentials apart. It is only ever used
// in a keyed digest.
func fingerprint(p *model.ChartPlace) string {
	a := &p.Auth
	parts := []string{p.URL, a.Username, string(a.Password.Reveal()), string(a.BearerToken.Reveal()), string(a.ClientCert), string(a.ClientKey.Reveal()), string(a.CA), fmt.Sprint(a.Insecure, a.Plain, a.PassAll)}
	if id := a.Workload; id != nil {
		parts = append(parts, "workload", id.Provider, id.Namespace, id.Account, fmt.Sprint(id.Annotations))
	}
	parts = append(parts, proxied(a.Proxy)...)
	for _, config := range a.DockerConfig {
		parts = append(parts, string(config.Reveal()))
	}
	if g := p.Git; g != nil {
		parts = append(parts, g.Username, string(g.Password.Reveal()), string(g.BearerToken.Reveal()), string(g.SSHKey.Reveal()), string(g.SSHKeyPassphrase.Reveal()), string(g.KnownHosts), string(g.CA), string(g.ClientCert), string(g.ClientKey.Reveal()), fmt.Sprint(g.Insecure, g.ForceBasicAuth))
		if app := g.GitHubApp; app != nil {
			parts = append(parts, "app", app.AppID, app.InstallationID, app.InstallationOwner, app.BaseURL, string(app.PrivateKey.Reveal()))
		}
		parts = append(parts, proxied(g.Proxy)...)
	}
	return strings.Join(parts, "\x00")
}

// proxied is what tells ways through a proxy apart.
func proxied(p *model.Proxy) []string {
	if p == nil {
		return nil
	}
	return []string{"proxy", p.Address, p.Username, string(p.Password.Reveal())}
}

// APINames are the names by which a chart asks for what is served: versions,
// and kinds of versions (Helm, Capabilities.APIVersions).
func APINames(kinds []schema.GroupVersionKind) []string {
	names := make([]string, 0, len(kinds)*2)
	for _, gvk := range kinds {
		version := gvk.GroupVersion().String()
		names = append(names, version, version+"/"+gvk.Kind)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
