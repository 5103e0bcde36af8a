package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	apidiscovery "k8s.io/api/apidiscovery/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// load reads the whole catalog unless somebody just did. Whoever waits for another
// to read it waits no longer than its own context.
func (k *kinds) load(ctx context.Context) error {
	select {
	case k.loading <- struct{}{}:
		defer func() { <-k.loading }()
	case <-ctx.Done():
		return fmt.Errorf("discover the kinds that the cluster serves: %w", ctx.Err())
	}
	k.mu.Lock()
	complete, epoch := k.complete, k.epoch
	k.mu.Unlock()
	if complete {
		return nil
	}
	catalog := map[string]*group{}
	for _, path := range []string{"/api", "/apis"} {
		if err := k.readGroups(ctx, path, catalog); err != nil {
			return fmt.Errorf("discover the kinds that the cluster serves: %w", err)
		}
	}
	k.mu.Lock()
	k.catalog, k.apiSet, k.loadedAt = catalog, nil, time.Now()
	k.complete = k.epoch == epoch
	k.trust()
	k.tell()
	calls := k.ready()
	k.mu.Unlock()
	for _, call := range calls {
		call()
	}
	return nil
}

// fresh is how long after its creation a CRD may be ahead of discovery.
const fresh = time.Minute

// trust takes those CRDs for verified that the catalog shows and that are no
// longer new. The caller holds the lock.
func (k *kinds) trust() {
	for name, crd := range k.crds {
		plural, groupName, _ := strings.Cut(name, ".")
		if age := time.Since(crd.created).Abs(); age > fresh && len(k.catalog[groupName].serving(plural)) > 0 {
			crd.verified = true
		}
	}
}

// readGroups reads /api or /apis: whole groups from servers with aggregated
// discovery, their names and versions from older ones.
func (k *kinds) readGroups(ctx context.Context, path string, into map[string]*group) error {
	r := &request{method: http.MethodGet, path: path, retry: always, accept: aggregatedType + "," + jsonType}
	return k.c.do(ctx, r, func(body []byte) error {
		var kind metav1.TypeMeta
		if err := json.Unmarshal(body, &kind); err != nil {
			return err
		}
		switch kind.Kind {
		case "APIGroupDiscoveryList":
			var list apidiscovery.APIGroupDiscoveryList
			if err := json.Unmarshal(body, &list); err != nil {
				return err
			}
			for i := range list.Items {
				into[list.Items[i].Name] = fromAggregated(&list.Items[i])
			}
		case "APIVersions":
			var core metav1.APIVersions
			if err := json.Unmarshal(body, &core); err != nil {
				return err
			}
			into[""] = unread(core.Versions)
		case "APIGroupList":
			var list metav1.APIGroupList
			if err := json.Unmarshal(body, &list); err != nil {
				return err
			}
			for i := range list.Groups {
				into[list.Groups[i].Name] = unread(versionNames(&list.Groups[i]))
			}
		default:
			return fmt.Errorf("unexpected answer of kind %q", kind.Kind)
		}
		return nil
	})
}

// versionNames are a group's versions, the preferred one first.
func versionNames(g *metav1.APIGroup) []string {
	var names []string
	for _, v := range g.Versions {
		names = append(names, v.Version)
	}
	if i := slices.Index(names, g.PreferredVersion.Version); i > 0 {
		names = slices.Insert(slices.Delete(names, i, i+1), 0, g.PreferredVersion.Version)
	}
	return names
}

func unread(versions []string) *group {
	g := &group{}
	for _, v := range versions {
		g.versions = append(g.versions, &groupVersion{version: v})
	}
	return g
}

func fromAggregated(in *apidiscovery.APIGroupDiscovery) *group {
	g := &group{}
	for i := range in.Versions {
		v := &in.Versions[i]
		gv := schema.GroupVersion{Group: in.Name, Version: v.Version}
		out := &groupVersion{version: v.Version, kinds: make(map[string]Kind, len(v.Resources)), loaded: true, stale: v.Freshness == apidiscovery.DiscoveryFreshnessStale}
		for j := range v.Resources {
			r := &v.Resources[j]
			if r.ResponseKind == nil || r.ResponseKind.Kind == "" {
				continue
			}
			// The response may be of another group, such as autoscaling/v1
			// Scale; the kind is served where the resource is.
			out.add(gv, r.ResponseKind.Kind, r.Resource, r.Scope == apidiscovery.ScopeNamespace, r.Verbs)
		}
		g.versions = append(g.versions, out)
	}
	return g
}

// add keeps the resource of a kind. Several resources may answer with one
// kind; the one that can be written wins.
func (v *groupVersion) add(gv schema.GroupVersion, kind, resource string, namespaced bool, verbs []string) {
	if _, taken := v.kinds[kind]; taken && !slices.Contains(verbs, "patch") && !slices.Contains(verbs, "create") {
		return
	}
	v.kinds[kind] = Kind{
		GVK: gv.WithKind(kind), GVR: gv.WithResource(resource), Namespaced: namespaced,
		Watchable: slices.Contains(verbs, "list") && slices.Contains(verbs, "watch"),
	}
}

// loadGroup reads the versions of a group that were only named so far.
func (k *kinds) loadGroup(ctx context.Context, name string) error {
	k.mu.Lock()
	var missing []string
	if g := k.catalog[name]; g != nil {
		for _, v := range g.versions {
			if !v.loaded {
				missing = append(missing, v.version)
			}
		}
	}
	k.mu.Unlock()
	for _, v := range missing {
		read, err := k.readVersion(ctx, name, v)
		if err != nil {
			return err
		}
		k.mu.Lock()
		if g := k.catalog[name]; g != nil {
			for i, old := range g.versions {
				if old.version == v && !old.loaded {
					g.versions[i] = read
					k.apiSet = nil
				}
			}
		}
		k.mu.Unlock()
	}
	return nil
}

// readVersion reads one group version. One whose server does not answer is
// stale, and not empty.
func (k *kinds) readVersion(ctx context.Context, name, v string) (*groupVersion, error) {
	var list metav1.APIResourceList
	r := &request{method: http.MethodGet, path: groupVersionPath(name, v), retry: always}
	err := k.c.do(ctx, r, func(body []byte) error { return json.Unmarshal(body, &list) })
	out := &groupVersion{version: v, kinds: map[string]Kind{}, loaded: true}
	switch {
	case apierrors.IsServiceUnavailable(err):
		out.stale = true
		return out, nil
	case apierrors.IsNotFound(err):
		return out, nil
	case err != nil:
		return nil, err
	}
	for i := range list.APIResources {
		r := &list.APIResources[i]
		if strings.Contains(r.Name, "/") { // a subresource
			continue
		}
		out.add(schema.GroupVersion{Group: name, Version: v}, r.Kind, r.Name, r.Namespaced, r.Verbs)
	}
	return out, nil
}

// readGroup reads one group anew. A nil group is one that is not served.
func (k *kinds) readGroup(ctx context.Context, name string) (*group, error) {
	var versions metav1.APIGroup
	r := &request{method: http.MethodGet, path: "/apis/" + name, retry: always}
	err := k.c.do(ctx, r, func(body []byte) error { return json.Unmarshal(body, &versions) })
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	g := &group{}
	for _, v := range versionNames(&versions) {
		gv, err := k.readVersion(ctx, name, v)
		if err != nil {
			return nil, err
		}
		g.versions = append(g.versions, gv)
	}
	return g, nil
}
