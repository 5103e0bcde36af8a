package gate

import (
	"strings"
	"testing"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

func TestPermits(t *testing.T) {
	everywhere := []model.Destination{{Server: "*", Namespace: "*"}}
	of := func(group, kind, namespace, name string) object.ID {
		return object.ID{Group: group, Kind: kind, Namespace: namespace, Name: name}
	}
	deployment, namespace := of("apps", "Deployment", "shop", "web"), of("", "Namespace", "", "shop")
	for _, c := range []struct {
		name       string
		permit     model.Permit
		id         object.ID
		namespaced bool
		want       string // part of the message; "": permitted
	}{
		{"nobody set bounds", model.Permit{}, namespace, false, ""},
		{"namespaced kinds are permitted unless listed", model.Permit{Destinations: everywhere}, deployment, true, ""},
		{"an empty list permits none", model.Permit{NamespaceAllow: []model.KindRule{}, Destinations: everywhere}, deployment, true, "resource apps:Deployment is not permitted in project team-a: it is not in namespaceResourceWhitelist"},
		{"listed", model.Permit{NamespaceAllow: []model.KindRule{{Group: "apps", Kind: "*"}}, Destinations: everywhere}, deployment, true, ""},
		{"not listed", model.Permit{NamespaceAllow: []model.KindRule{{Group: "", Kind: "*"}}, Destinations: everywhere}, deployment, true, "namespaceResourceWhitelist"},
		{"denied", model.Permit{NamespaceDeny: []model.KindRule{{Kind: "Secret"}, {Group: "*", Kind: "Deploy*"}}, Destinations: everywhere}, deployment, true, "resource apps:Deployment is not permitted in project team-a: denied by namespaceResourceBlacklist[1] (*:Deploy*)"},
		{"denied although allowed", model.Permit{NamespaceAllow: []model.KindRule{{Group: "*", Kind: "*"}}, NamespaceDeny: []model.KindRule{{Group: "apps", Kind: "Deployment"}}, Destinations: everywhere}, deployment, true, "namespaceResourceBlacklist[0]"},
		{"names do not count for namespaced kinds", model.Permit{NamespaceDeny: []model.KindRule{{Group: "apps", Kind: "Deployment", Name: "other"}}, Destinations: everywhere}, deployment, true, "namespaceResourceBlacklist[0]"},
		{"a malformed pattern matches nothing", model.Permit{NamespaceAllow: []model.KindRule{{Group: "apps", Kind: "["}}, Destinations: everywhere}, deployment, true, "namespaceResourceWhitelist"},
		{"braces mean nothing in these lists", model.Permit{NamespaceAllow: []model.KindRule{{Group: "apps", Kind: "{Deployment,Job}"}}, Destinations: everywhere}, deployment, true, "namespaceResourceWhitelist"},

		{"no cluster-scoped kind by default", model.Permit{Destinations: everywhere}, namespace, false, "resource :Namespace is not permitted in project team-a: clusterResourceWhitelist is empty"},
		{"cluster-scoped, listed", model.Permit{ClusterAllow: []model.KindRule{{Kind: "Namespace"}}}, namespace, false, ""},
		{"cluster-scoped, listed by name", model.Permit{ClusterAllow: []model.KindRule{{Kind: "Namespace", Name: "sh*"}}}, namespace, false, ""},
		{"cluster-scoped, another name", model.Permit{ClusterAllow: []model.KindRule{{Kind: "Namespace", Name: "team-*"}}}, namespace, false, "it is not in clusterResourceWhitelist"},
		{"cluster-scoped, denied", model.Permit{ClusterAllow: []model.KindRule{{Group: "*", Kind: "*"}}, ClusterDeny: []model.KindRule{{Kind: "Namespace", Name: "shop"}}}, namespace, false, "denied by clusterResourceBlacklist[0] (:Namespace shop)"},
		{"the namespaced lists do not concern cluster-scoped kinds", model.Permit{ClusterAllow: []model.KindRule{{Group: "*", Kind: "*"}}, NamespaceDeny: []model.KindRule{{Group: "*", Kind: "*"}}}, namespace, false, ""},

		{"no destination", model.Permit{}, deployment, true, "namespace shop is not permitted in project 'team-a': no entry of destinations permits it"},
		{"another namespace", model.Permit{Destinations: []model.Destination{{Server: "*", Namespace: "team-*"}}}, deployment, true, "namespace shop is not permitted"},
		{"cluster-scoped kinds have no destination", model.Permit{ClusterAllow: []model.KindRule{{Group: "*", Kind: "*"}}}, namespace, false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.name != "nobody set bounds" {
				c.permit.By = "project 'team-a'"
			}
			c.permit.Server, c.permit.Name = "https://kubernetes.default.svc", "in-cluster"
			fault := Permits(&c.permit, c.id, c.namespaced)
			switch {
			case c.want == "" && fault != nil:
				t.Errorf("refused: %v", fault)
			case c.want != "" && fault == nil:
				t.Error("permitted")
			case c.want != "" && !strings.Contains(fault.Message, c.want):
				t.Errorf("refused by %q", fault.Message)
			case fault != nil && (fault.Object != c.id || fault.Reason != "SyncFailed"):
				t.Errorf("fault %+v", fault)
			}
		})
	}
	if Permits(nil, deployment, true) != nil {
		t.Error("no permit refuses")
	}
}

// The cases tell what each combination of allowing and denying entries means.
func TestDestination(t *testing.T) {
	const server, name = "https://prod", "prod"
	for _, c := range []struct {
		about        string
		destinations []model.Destination
		namespace    string
		want         bool
	}{
		{"by server", []model.Destination{{Server: "https://prod", Namespace: "a"}}, "a", true},
		{"by name", []model.Destination{{Name: "prod", Namespace: "a"}}, "a", true},
		{"an empty server matches none", []model.Destination{{Namespace: "a"}}, "a", false},
		{"namespace excluded", []model.Destination{{Server: "*", Namespace: "*"}, {Server: "*", Namespace: "!kube-system"}}, "kube-system", false},
		{"another namespace than the excluded one", []model.Destination{{Server: "*", Namespace: "*"}, {Server: "*", Namespace: "!kube-system"}}, "a", true},
		{"an exclusion alone permits the others", []model.Destination{{Server: "*", Namespace: "!kube-*"}}, "a", true},
		{"namespace excluded on another cluster", []model.Destination{{Server: "*", Namespace: "*"}, {Server: "https://test", Namespace: "!a"}}, "a", true},
		{"server excluded", []model.Destination{{Server: "*", Namespace: "*"}, {Server: "!https://prod", Namespace: "*"}}, "a", false},
		{"another server excluded", []model.Destination{{Server: "!https://test", Namespace: "*"}}, "a", true},
		{"name excluded in whatever namespace", []model.Destination{{Server: "*", Namespace: "*"}, {Name: "!prod", Namespace: "b"}}, "a", false},
		{"server excluded in another namespace", []model.Destination{{Server: "*", Namespace: "*"}, {Server: "!https://prod", Namespace: "b"}}, "a", true},
		{"the order does not matter", []model.Destination{{Server: "*", Namespace: "!a"}, {Server: "*", Namespace: "*"}}, "a", false},
	} {
		if got := Destination(c.destinations, server, name, c.namespace); got != c.want {
			t.Errorf("%s: %v", c.about, got)
		}
	}
}
