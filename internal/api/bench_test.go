package api

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"plumb.dev/plumb/internal/api/board"
	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/api/rows"
	"plumb.dev/plumb/internal/signin"
)

// fleet is how many deliveries the benchmarks list.
const fleet = 5000

// fleetServer has rows of both dialects, in fifty namespaces and ten projects.
func fleetServer(t *testing.B) *Server {
	t.Helper()
	s := matrixServer(t)
	s.world.Store(&World{Declared: nothingDeclared{}})
	for i := range fleet {
		s.deliveries.Put(rows.ID(fleetRow(i).GetRef()), fleetRow(i))
	}
	return s
}

func fleetRow(i int) *plumbv1.Delivery {
	at := timestamppb.New(time.Unix(1_700_000_000+int64(i), 0))
	row := &plumbv1.Delivery{
		Ref: ref("Application", fmt.Sprintf("team-%d", i%50), fmt.Sprintf("web-%d", i)), Dialect: "argo", Cluster: "in-cluster", TargetNamespace: fmt.Sprintf("team-%d", i%50),
		Project: []string{"shop", "core", "p2", "p3", "p4", "p5", "p6", "p7", "p8", "p9"}[i%10], Revision: "main@sha1:0123456789012345678901234567890123456789",
		Source: &plumbv1.SourceRef{Url: fmt.Sprintf("https://git.example.org/team-%d", i%50), Path: fmt.Sprintf("apps/web-%d", i), TargetRevision: "main"},
		Commit: &plumbv1.Commit{Hash: "0123456789012345678901234567890123456789", Subject: "change the text", Author: "Jane Doe <jane@example.com>", Time: at},
		Health: &plumbv1.Health{State: []string{"Healthy", "Healthy", "Healthy", "Progressing", "Degraded"}[i%5]}, Sync: []string{"Synced", "OutOfSync"}[i%7/6],
		Automation: "automatic", Labels: map[string]string{"team": fmt.Sprint(i % 50)}, Created: at, Changed: at, Objects: 12,
	}
	if i%2 == 0 {
		row.Ref, row.Dialect, row.Project = ref("Kustomization", row.Ref.Namespace, row.Ref.Name), "flux", ""
	}
	return row
}

// percentile measures a call again and again, and reports what half and all but
// a twentieth of the calls took.
func percentile(b *testing.B, call func()) {
	b.Helper()
	var took []time.Duration
	for b.Loop() {
		start := time.Now()
		call()
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*95/100].Microseconds())/1000, "p95-ms")
}

func BenchmarkList5000(b *testing.B) {
	s := fleetServer(b)
	b.ReportAllocs()
	everything := &plumbv1.ListDeliveriesRequest{Facets: true, Query: &plumbv1.Query{PageSize: 100}}
	filtered := &plumbv1.ListDeliveriesRequest{Facets: true, Query: &plumbv1.Query{PageSize: 100, Search: "team-7", Where: map[string]*plumbv1.Values{"health": {Values: []string{"Degraded", "Healthy"}}}}}
	for _, c := range []struct {
		name string
		who  signin.Principal
		m    *plumbv1.ListDeliveriesRequest
	}{
		{"admin", callers[0].who, everything}, {"admin-filtered", callers[0].who, filtered},
		{"project-limited", callers[1].who, everything}, {"project-limited-filtered", callers[1].who, filtered},
		{"cluster-rbac", callers[5].who, everything},
	} {
		b.Run(c.name, func(b *testing.B) {
			percentile(b, func() {
				ctx := context.WithValue(context.Background(), callerKey{}, s.guard.Caller(c.who))
				answer, err := deliveryService{s}.ListDeliveries(ctx, c.m)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := protojson.Marshal(answer); err != nil {
					b.Fatal(err)
				}
			})
		})
	}
}

// BenchmarkDelta5000 is a change of one row, and the message that it becomes.
func BenchmarkDelta5000(b *testing.B) {
	s := fleetServer(b)
	for _, c := range []struct {
		name string
		who  signin.Principal
	}{{"admin", callers[0].who}, {"project-limited", callers[1].who}} {
		b.Run(c.name, func(b *testing.B) {
			q, err := queryOf(nil, true)
			q.Numbers = true
			if err != nil {
				b.Fatal(err)
			}
			f, err := s.deliveries.Follow(q, "")
			if err != nil {
				b.Fatal(err)
			}
			tell := func() board.Delta[*plumbv1.Delivery] {
				look := f.Look(false)
				return f.Tell(look, visible(context.Background(), s.guard.Caller(c.who), look.Each, targetOf))
			}
			tell()
			i := 0
			percentile(b, func() {
				i++
				row := proto.Clone(fleetRow(i%10*10 + 11)).(*plumbv1.Delivery)
				row.Message = fmt.Sprint(i)
				s.deliveries.Put(rows.ID(row.GetRef()), row)
				if delta := tell(); delta.Reset || delta.Total == 0 {
					b.Fatalf("the answer is %+v", delta)
				}
			})
		})
	}
}

// BenchmarkMemory5000 is what the rows of a fleet hold.
func BenchmarkMemory5000(b *testing.B) {
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for b.Loop() {
		before := heap()
		s := fleetServer(b)
		after := heap()
		b.ReportMetric(float64(after-before)/(1<<20), "MiB")
		runtime.KeepAlive(s)
	}
}
