package cli

import (
	"context"
	"log/slog"
	"net/http"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/api"
	argoapi "plumb.dev/plumb/internal/api/argocd"
	argoworld "plumb.dev/plumb/internal/api/argocd/world"
	clusters "plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/dialect/argo"
	"plumb.dev/plumb/internal/engine"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/policy"
	"plumb.dev/plumb/internal/signin"
)

// argocdProtocol is what Argo CD's own command line speaks, behind the same door
// as everything else.
func argocdProtocol(settings dialect.Settings, log *slog.Logger) func(*http.ServeMux, *api.Server) {
	return func(mux *http.ServeMux, s *api.Server) {
		local := func() *clusters.Cluster {
			if w := s.World(); w != nil {
				return w.Local
			}
			return nil
		}
		running := func() *engine.Engine {
			if w := s.World(); w != nil {
				return w.Engine
			}
			return nil
		}
		handler, err := argoapi.New(argoapi.Options{
			Door: s.Door(), Guard: argocdGuard{s}, Objects: argoapi.InCluster(local), Declared: argocdDeclarations{s},
			Deliveries: argoworld.New(argoworld.Options{
				Engine: running, Local: local, Dialect: argo.New(), Settings: settings,
				Answer: func(ctx context.Context, q model.Question) (model.Answer, error) {
					if e := running(); e != nil {
						return e.Answer(ctx, q)
					}
					return model.Answer{}, argoworld.ErrNotLeading
				},
				Reach: func(ctx context.Context, source model.Source) error {
					if e := running(); e != nil {
						return e.Reach(ctx, source)
					}
					return argoworld.ErrNotLeading
				},
			}),
			Audit: func(ctx context.Context, deed argoapi.Deed) {
				on := object.ID{Group: deed.Kind.Group, Kind: deed.Kind.Kind, Namespace: deed.Namespace, Name: deed.Name}
				s.Record(ctx, deed.Who.Name, deed.Action, on, deed.Refused, deed.Detail)
			},
			Begin: s.Begin, Shown: s.Shown, ApplicationNamespaces: settings.ApplicationNamespaces,
			Namespace: s.Control(), Version: buildVersion(), Log: log,
		})
		if err != nil {
			panic(err) // the messages are embedded, and tested
		}
		paths, err := argoapi.Paths()
		if err != nil {
			panic(err)
		}
		for _, path := range paths {
			mux.Handle(path, handler)
		}
	}
}

// argocdGuard asks the policy in Argo CD's own words. The cluster's RBAC is not
// asked: upstream's server does not know it either.
type argocdGuard struct{ server *api.Server }

func (g argocdGuard) Can(_ context.Context, who signin.Principal, r policy.Request) bool {
	return g.server.Guard().Caller(who).Can(r)
}

func (g argocdGuard) Policy() *policy.Policy { return g.server.Guard().Policy() }

// argocdDeclarations are the declared objects that the engine watches.
type argocdDeclarations struct{ server *api.Server }

func (d argocdDeclarations) Of(kind argoapi.Kind) ([]*unstructured.Unstructured, bool) {
	w := d.server.World()
	if w == nil {
		return nil, false
	}
	return w.Declared.Of(schema.GroupKind{Group: kind.Group, Kind: kind.Kind})
}
