package api

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/api/access"
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

// ListProjects lists the AppProjects that the caller may see.
func (s fleetService) ListProjects(ctx context.Context, _ *plumbv1.ListProjectsRequest) (*plumbv1.ListProjectsResponse, error) {
	if _, err := s.leads(); err != nil {
		return nil, err
	}
	caller := callerOf(ctx)
	counted := counts{}
	visible := s.visibleDeliveries(ctx, caller)
	s.deliveries.Each(func(d *plumbv1.Delivery) {
		if visible(d) {
			counted.follow(&d, 1)
		}
	})
	projects := s.projectsFor(ctx, caller, counted)
	return &plumbv1.ListProjectsResponse{Projects: projects, Revision: revisionOf(projects)}, nil
}

// WatchProjects sends what changes of them, until the caller has had enough.
func (s fleetService) WatchProjects(ctx context.Context, m *plumbv1.WatchProjectsRequest, out *connect.ServerStream[plumbv1.WatchProjectsResponse]) error {
	if _, err := s.leads(); err != nil {
		return err
	}
	counted := counts{}
	f, err := s.deliveries.Follow(board.Query{}, "")
	if err != nil {
		return err
	}
	f.Tally = counted.follow
	sent := listed[*plumbv1.Project]{since: m.GetSince(), name: func(p *plumbv1.Project) string { return p.GetRef().GetName() }}
	stream := followed[*plumbv1.Delivery]{
		server: s.Server, rows: f, target: targetOf, each: true, besides: func() [2]<-chan struct{} { return [2]<-chan struct{}{s.fleetNews()} },
		send: func(_ board.Delta[*plumbv1.Delivery], caller *access.Caller) error {
			change, ok := sent.next(s.projectsFor(ctx, caller, counted))
			if !ok {
				return nil
			}
			message := &plumbv1.WatchProjectsResponse{Reset_: change.reset, Changed: change.changed, Revision: change.revision}
			for _, name := range change.removed {
				message.Removed = append(message.Removed, &plumbv1.ObjectRef{Group: projectKind.Group, Kind: projectKind.Kind, Namespace: s.control(), Name: name})
			}
			return out.Send(message)
		},
	}
	return stream.run(ctx)
}

// counts counts deliveries by their project.
type counts map[string]int32

// follow counts what a follower tells of.
func (c counts) follow(row **plumbv1.Delivery, by int) {
	switch {
	case row == nil:
		clear(c)
	case (*row).GetProject() != "":
		c[(*row).GetProject()] += int32(by)
	}
}

// projectsFor are the projects that a caller sees, by name.
func (s *Server) projectsFor(ctx context.Context, caller *access.Caller, counted counts) []*plumbv1.Project {
	s.mu.Lock()
	projects := slices.Collect(maps.Values(s.settings.projects))
	s.mu.Unlock()
	var out []*plumbv1.Project
	for _, o := range projects {
		ref := rows.Ref(object.Of(o), o.GroupVersionKind().Version)
		if caller.May(ctx, policy.Get, s.target(ref)).Allowed {
			p := projectOf(o, ref)
			p.Deliveries = counted[o.GetName()]
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b *plumbv1.Project) int { return strings.Compare(a.GetRef().GetName(), b.GetRef().GetName()) })
	return out
}

// projectOf is an AppProject as people see it.
func projectOf(o *unstructured.Unstructured, ref *plumbv1.ObjectRef) *plumbv1.Project {
	word := func(m map[string]any, key string) string { text, _ := m[key].(string); return text }
	entries := func(path ...string) []map[string]any {
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
	for _, d := range entries("spec", "destinations") {
		p.Destinations = append(p.Destinations, cmp.Or(word(d, "name"), word(d, "server"))+"/"+word(d, "namespace"))
	}
	for _, r := range entries("spec", "roles") {
		p.Roles = append(p.Roles, word(r, "name"))
	}
	for _, w := range entries("spec", "syncWindows") {
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
	if err := tooLong(&plumbv1.Query{Search: m.GetText()}); err != nil {
		return nil, err
	}
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
