package api

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/api/board"
	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/api/rows"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/policy"
)

// fleetService answers for everything beside deliveries.
type fleetService struct{ *Server }

// GetOverview counts what the caller may see.
func (s fleetService) GetOverview(ctx context.Context, _ *plumbv1.GetOverviewRequest) (*plumbv1.GetOverviewResponse, error) {
	if _, err := s.leads(); err != nil {
		return nil, err
	}
	caller := callerOf(ctx)
	page, err := s.deliveries.List(board.Query{Facets: true, Numbers: true}, s.visibleDeliveries(ctx, caller))
	if err != nil {
		return nil, err
	}
	sources, err := s.sources.List(board.Query{Facets: true, Numbers: true}, s.visibleSources(ctx, caller))
	if err != nil {
		return nil, err
	}
	out := &plumbv1.GetOverviewResponse{Deliveries: int32(page.Total), Sources: int32(sources.Total)}
	for _, f := range page.Facets {
		switch f.Field {
		case "dialect", "health", "sync", "project", "cluster":
			out.Facets = append(out.Facets, facetsOf([]board.Facet{f})...)
		}
		if f.Field == "cluster" {
			out.Clusters = int32(len(f.Values))
		}
		for _, v := range f.Values {
			if f.Field == "held" && v.Value == "true" {
				out.Held = int32(v.Rows)
			}
		}
	}
	for _, f := range sources.Facets {
		for _, v := range f.Values {
			if f.Field == "health" && v.Value == rows.Degraded {
				out.SourcesFailing = int32(v.Rows)
			}
		}
	}
	return out, nil
}

// ListClusters lists the clusters that deliveries which the caller may see go
// to.
func (s fleetService) ListClusters(ctx context.Context, _ *plumbv1.ListClustersRequest) (*plumbv1.ListClustersResponse, error) {
	w, err := s.leads()
	if err != nil {
		return nil, err
	}
	caller := callerOf(ctx)
	visible := s.visibleDeliveries(ctx, caller)
	known := map[string]*plumbv1.Cluster{}
	s.deliveries.Each(func(d *plumbv1.Delivery) {
		if !visible(d) {
			return
		}
		c := known[d.GetCluster()]
		if c == nil {
			c = &plumbv1.Cluster{Name: d.GetCluster(), Health: &plumbv1.Health{State: rows.Unknown}}
			known[d.GetCluster()] = c
		}
		c.Deliveries++
		switch d.GetHealth().GetState() {
		case rows.Degraded, rows.Missing:
			c.Unhealthy++
		case rows.Healthy:
			c.Health.State = rows.Healthy // it answered not long ago
		}
	})
	if known[rows.InCluster] == nil && caller.MayUse(policy.Clusters, policy.Get, inClusterServer).Allowed {
		known[rows.InCluster] = &plumbv1.Cluster{Name: rows.InCluster}
	}
	if here := known[rows.InCluster]; here != nil {
		here.Server, here.Health = w.Local.Host(), &plumbv1.Health{State: rows.Healthy}
		if version, err := w.Local.Version(ctx); err != nil {
			here.Health = &plumbv1.Health{State: rows.Degraded, Reason: "Unreachable", Message: "the API server does not answer"}
		} else {
			here.Version = version
		}
	}
	out := &plumbv1.ListClustersResponse{}
	for _, c := range known {
		out.Clusters = append(out.Clusters, c)
	}
	slices.SortFunc(out.Clusters, func(a, b *plumbv1.Cluster) int { return strings.Compare(a.GetName(), b.GetName()) })
	return out, nil
}

// inClusterServer is the cluster of the declared objects in the words of a
// policy.
const inClusterServer = "https://kubernetes.default.svc"

// ListProjects lists the AppProjects that the caller may see.
func (s fleetService) ListProjects(ctx context.Context, _ *plumbv1.ListProjectsRequest) (*plumbv1.ListProjectsResponse, error) {
	if _, err := s.leads(); err != nil {
		return nil, err
	}
	caller := callerOf(ctx)
	counts := map[string]int32{}
	visible := s.visibleDeliveries(ctx, caller)
	s.deliveries.Each(func(d *plumbv1.Delivery) {
		if d.GetProject() != "" && visible(d) {
			counts[d.GetProject()]++
		}
	})
	s.mu.Lock()
	var projects []*unstructured.Unstructured
	for _, o := range s.settings.projects {
		projects = append(projects, o)
	}
	s.mu.Unlock()
	out := &plumbv1.ListProjectsResponse{}
	for _, o := range projects {
		ref := rows.Ref(object.Of(o), o.GroupVersionKind().Version)
		if caller.May(ctx, policy.Get, s.target(ref)).Allowed {
			p := projectOf(o, ref)
			p.Deliveries = counts[o.GetName()]
			out.Projects = append(out.Projects, p)
		}
	}
	slices.SortFunc(out.Projects, func(a, b *plumbv1.Project) int { return strings.Compare(a.GetRef().GetName(), b.GetRef().GetName()) })
	return out, nil
}

// projectOf is an AppProject as people see it.
func projectOf(o *unstructured.Unstructured, ref *plumbv1.ObjectRef) *plumbv1.Project {
	word := func(m map[string]any, key string) string { text, _ := m[key].(string); return text }
	maps := func(path ...string) []map[string]any {
		items, _, _ := unstructured.NestedSlice(o.Object, path...)
		var out []map[string]any
		for _, item := range items {
			if m, ok := item.(map[string]any); ok {
				out = append(out, m)
			}
		}
		return out
	}
	p := &plumbv1.Project{Ref: ref, Manifest: maskedProject(o)}
	p.Description, _, _ = unstructured.NestedString(o.Object, "spec", "description")
	sources, _, _ := unstructured.NestedStringSlice(o.Object, "spec", "sourceRepos")
	for _, source := range sources {
		p.Sources = append(p.Sources, object.WithoutCredentials(source))
	}
	for _, d := range maps("spec", "destinations") {
		p.Destinations = append(p.Destinations, cmp.Or(word(d, "name"), word(d, "server"))+"/"+word(d, "namespace"))
	}
	for _, r := range maps("spec", "roles") {
		p.Roles = append(p.Roles, word(r, "name"))
	}
	for _, w := range maps("spec", "syncWindows") {
		p.Windows = append(p.Windows, fmt.Sprintf("%s at %s for %s", word(w, "kind"), word(w, "schedule"), word(w, "duration")))
	}
	return p
}

// maskedProject prints a project without the records of its tokens.
func maskedProject(o *unstructured.Unstructured) string {
	clean := o.DeepCopy()
	unstructured.RemoveNestedField(clean.Object, "status", "jwtTokensByRole")
	return maskedYAML(clean)
}

// searched bounds the hits of a search.
const searched = 20

// Search finds deliveries, sources, and objects of deliveries.
func (s fleetService) Search(ctx context.Context, m *plumbv1.SearchRequest) (*plumbv1.SearchResponse, error) {
	w, err := s.leads()
	if err != nil {
		return nil, err
	}
	limit := int(m.GetLimit())
	if limit <= 0 || limit > maxPageSize {
		limit = searched
	}
	caller := callerOf(ctx)
	out := &plumbv1.SearchResponse{}
	q := board.Query{Search: m.GetText(), Limit: limit}
	visible := s.visibleDeliveries(ctx, caller)
	deliveries, err := s.deliveries.List(q, visible)
	if err != nil {
		return nil, err
	}
	for _, d := range deliveries.Rows {
		out.Hits = append(out.Hits, &plumbv1.Hit{Type: "delivery", Ref: d.GetRef(), Health: d.GetHealth(), Detail: cmp.Or(d.GetSource().GetUrl(), d.GetMessage())})
	}
	sources, err := s.sources.List(q, s.visibleSources(ctx, caller))
	if err != nil {
		return nil, err
	}
	for _, r := range sources.Rows {
		out.Hits = append(out.Hits, &plumbv1.Hit{Type: "source", Ref: r.GetRef(), Health: r.GetHealth(), Detail: r.GetUrl()})
	}
	words := strings.Fields(strings.ToLower(m.GetText()))
	owns := func(owner object.ID) bool {
		row, ok := s.deliveries.Get(owner)
		return ok && visible(row)
	}
	for _, owned := range w.Engine.FindObjects(words, limit, owns) {
		out.Hits = append(out.Hits, &plumbv1.Hit{Type: "object", Ref: rows.Ref(owned.ID, ""), Delivery: rows.Ref(owned.Owner, ""), Health: rows.HealthOf(owned.Health)})
	}
	slices.SortStableFunc(out.Hits, func(a, b *plumbv1.Hit) int { return closeness(b, words) - closeness(a, words) })
	if len(out.Hits) > limit {
		out.Hits = out.Hits[:limit]
	}
	return out, nil
}

// closeness ranks hits: a name that is what was looked for comes first.
func closeness(h *plumbv1.Hit, words []string) int {
	name, n := strings.ToLower(h.GetRef().GetName()), 0
	for _, word := range words {
		switch {
		case name == word:
			n += 4
		case strings.HasPrefix(name, word):
			n += 2
		case strings.Contains(name, word):
			n++
		}
	}
	return n*2 + map[string]int{"delivery": 1}[h.GetType()]
}

// GetSettings tells the configuration in force.
func (s fleetService) GetSettings(ctx context.Context, _ *plumbv1.GetSettingsRequest) (*plumbv1.GetSettingsResponse, error) {
	out := &plumbv1.GetSettingsResponse{Version: s.opts.Version}
	flags := &plumbv1.SettingsGroup{Title: "Flags"}
	for _, f := range s.opts.Flags {
		flags.Settings = append(flags.Settings, &plumbv1.Setting{Name: f.Name, Value: f.Value, From: "--" + f.Name, Help: f.Help})
	}
	s.mu.Lock()
	st := s.settings
	home := st.home
	findings := slices.Clone(st.findings)
	groups := []*plumbv1.SettingsGroup{flags}
	for _, name := range []string{policyMap, "argocd-cm"} {
		group := &plumbv1.SettingsGroup{Title: home + "/" + name}
		for _, k := range sortedKeys(st.configs[name]) {
			group.Settings = append(group.Settings, &plumbv1.Setting{Name: k, Value: shownSetting(k, st.configs[name][k]), From: "ConfigMap " + home + "/" + name})
		}
		groups = append(groups, group)
	}
	s.mu.Unlock()
	out.Groups = groups
	door, err := s.door.Findings(ctx)
	if err == nil {
		findings = append(findings, door...)
	}
	for i := range findings {
		out.Findings = append(out.Findings, rows.Finding(&findings[i]))
	}
	return out, nil
}
