package cluster

import (
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"plumb.dev/plumb/internal/model"
)

const deployment = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"labels":{"app.kubernetes.io/name":"web","kustomize.toolkit.fluxcd.io/name":"web","kustomize.toolkit.fluxcd.io/namespace":"apps"},"name":"%s","namespace":"%s"},"spec":{"replicas":0,"selector":{"matchLabels":{"app":"web"}},"template":{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"env":[{"name":"MODE","value":"prod"}],"image":"registry.example.org/web:1.2.3","name":"web","ports":[{"containerPort":8080,"name":"http"}],"resources":{"limits":{"cpu":"1","memory":"128Mi"},"requests":{"cpu":"10m","memory":"64Mi"}}}]}}}}`

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkApply applies Deployments with 32 writers and reports what one
// costs this process.
func BenchmarkApply(b *testing.B) {
	c := realSet(b, Options{}).Local()
	ns := newNamespace(b, c)
	kind := mustKind(b, c, "apps/v1", "Deployment")
	ctx := b.Context()
	s := c.As(model.Identity{})
	var n atomic.Int64
	b.ResetTimer()
	before := cpu()
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for i := n.Add(1); i <= int64(b.N); i = n.Add(1) {
				name := fmt.Sprintf("web-%d", i)
				if _, err := s.Apply(ctx, kind, fmt.Appendf(nil, deployment, name, ns), ApplyOptions{Manager: "bench", Force: true}); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "cpu-µs/op")
}
