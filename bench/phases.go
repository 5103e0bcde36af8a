package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"plumb.dev/plumb/internal/kinds"
	"plumb.dev/plumb/scenario/stage"
)

// declaredNamespace is where the declared objects are.
const declaredNamespace = "flux-system"

// progress is told of after so many commits: each waits for N statuses.
const progress = 20

// parallelCreates is how many declared objects are created at a time.
const parallelCreates = 8

// A bench measures one number of applications on a cluster of its own.
type bench struct {
	settings
	n    int
	dir  string
	step func(format string, args ...any)

	plane *stage.Plane
	forge *stage.Forge

	warehouse *stage.Warehouse // of charts, with -dialect helm
	repo      *stage.Repository
	api       *client

	engine *engine
	begin  func(context.Context) (*engine, error) // starts it

	dialect                      idiom
	webhooks                     string // address of the engine
	markers, deliveries, sources *tracker
}

// figures are what one run found.
type figures struct {
	n           int
	engine      string
	partly      bool // only what is measured of every engine
	raw         time.Duration
	ready       time.Duration
	readyCPU    time.Duration
	readyPeak   float64 // MiB
	readyCalls  float64 // API requests per application, without watches
	settled     sample  // one commit at a time
	unsettled   sample  // the next as soon as the object has changed
	others      float64 // API requests per commit beside status writes and watches
	statuses    float64 // status writes per commit
	otherCPU    time.Duration
	all         time.Duration // a commit to all applications
	healed      sample
	restCPU     time.Duration
	restCalls   map[string]int
	restMemory  float64
	chain       time.Duration
	restart     time.Duration // until the drift made meanwhile is healed
	writes      map[string]int
	peak        float64
	lists       sample        // of the console: a page of the list
	told        sample        // of the console: from the change in the cluster to a viewer
	consolePeak float64       // MiB, with viewers
	plane       time.Duration // how long the control plane took to start
}

// sample is a set of latencies.
type sample []time.Duration

// at is a percentile: the smallest value that so many per cent do not exceed.
func (s sample) at(percent int) time.Duration {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	return sorted[max(0, (len(sorted)*percent+99)/100-1)]
}

func measure(ctx context.Context, s settings, n int, flux bool) (f figures, err error) {
	dir, err := os.MkdirTemp("", "plumb-bench-")
	if err != nil {
		return f, err
	}
	b := &bench{settings: s, n: n, dir: dir, dialect: idioms[s.idiom], markers: newTracker(), deliveries: newTracker(), sources: newTracker()}
	b.begin, f.engine = b.startPlumb, "Plumb"
	if flux {
		b.begin, f.engine = b.startFlux, "Flux"
	}
	b.step = func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, "%s %s n=%d: %s\n", time.Now().Format("15:04:05"), f.engine, n, fmt.Sprintf(format, args...))
	}
	defer func() { err = errors.Join(err, b.close()) }()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if err := b.open(ctx); err != nil {
		return f, err
	}
	f.n, f.plane = n, b.plane.ReadyAfter()
	f.partly = flux || s.brief
	for _, phase := range []struct {
		name  string
		do    func(context.Context, *figures) error
		every bool // of every engine
		only  bool // where the console is asked for
	}{
		{name: "the baseline", do: b.measureRaw, every: true},
		{name: "creating the applications", do: b.measureCreate, every: true},
		{name: "a dependency chain", do: b.measureChain},
		{name: "commits to one application", do: b.measureCommits},
		{name: "a commit to all", do: b.measureAll},
		{name: "hand edits", do: b.measureDrift},
		{name: "rest", do: b.measureRest, every: true},
		{name: "the console", do: b.measureConsole, every: !flux, only: true},
		{name: "a restart", do: b.measureRestart},
	} {
		if f.partly && !phase.every || phase.only && !s.console {
			continue
		}
		b.step("measuring %s", phase.name)
		if err := phase.do(ctx, &f); err != nil {
			return f, fmt.Errorf("%s: %w\n%s said:\n%s", phase.name, err, f.engine, b.said())
		}
	}
	return f, nil
}

func (b *bench) said() string {
	if b.engine == nil {
		return ""
	}
	return b.engine.said()
}

// open starts the control plane, the Git server and the watches.
func (b *bench) open(ctx context.Context) (err error) {
	b.step("starting a control plane")
	if b.plane, err = stage.StartPlane(ctx, filepath.Join(b.dir, "plane"), 0, true); err != nil {
		return err
	}
	cfg, err := b.plane.Config()
	if err != nil {
		return err
	}
	if b.api, err = newClient(cfg); err != nil {
		return err
	}
	kube, err := stage.NewKube(cfg)
	if err != nil {
		return err
	}
	established, err := stage.ParseQuestion([]string{"Established=True"})
	if err != nil {
		return err
	}
	for _, crd := range kinds.CRDs() {
		if err := kube.Apply(ctx, crd, "bench"); err != nil {
			return err
		}
		if err := kube.Await(ctx, stage.Name{Kind: "customresourcedefinition", Name: crd.GetName()}, established); err != nil {
			return err
		}
	}
	for _, namespace := range []string{declaredNamespace, argoNamespace, targetNamespace} {
		if err := b.namespace(ctx, namespace); err != nil {
			return err
		}
	}
	return b.openRepository(ctx)
}

func (b *bench) openRepository(ctx context.Context) (err error) {
	b.step("generating a repository")
	bare := filepath.Join(b.dir, "repositories")
	if err := os.MkdirAll(bare, 0o755); err != nil {
		return err
	}
	if b.forge, err = stage.NewForge(bare); err != nil {
		return err
	}
	if b.repo, err = b.forge.NewRepository("bench", filepath.Join(b.dir, "work")); err != nil {
		return err
	}
	if err := layout(b.repo, b.n, b.links); err != nil {
		return err
	}
	return errors.Join(
		b.api.watch(ctx, "/api/v1/namespaces/"+targetNamespace+"/configmaps?labelSelector=bench%2Fmarker%3Dtrue", b.markers.handle),
		b.api.watch(ctx, b.dialect.collection, b.deliveries.handle),
		b.api.watch(ctx, gitRepositories, b.sources.handle),
	)
}

func (b *bench) close() error {
	var all error
	if b.engine != nil {
		all = b.engine.stop()
	}
	if b.forge != nil {
		b.forge.Close()
	}
	if b.warehouse != nil {
		b.warehouse.Close()
	}
	if b.plane != nil {
		all = errors.Join(all, b.plane.Stop())
	}
	return errors.Join(all, os.RemoveAll(b.dir))
}

func (b *bench) namespace(ctx context.Context, name string) error {
	return b.api.apply(ctx, "/api/v1/namespaces/"+name, "bench", []byte("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: "+name+"\n"))
}

// Paths of the declared objects.
const gitRepositories = "/apis/source.toolkit.fluxcd.io/v1/namespaces/" + declaredNamespace + "/gitrepositories"

func kustomizations(namespace string) string {
	return "/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/" + namespace + "/kustomizations"
}

// delivery is a Kustomization, ending in its spec so that fields can be added.
func (b *bench) delivery(name, path, namespace string) string {
	return fmt.Sprintf(`apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata:
  name: %s
  namespace: %s
spec:
  interval: %s
  retryInterval: 30s
  timeout: 5m
  path: ./%s
  prune: true
  sourceRef:
    kind: GitRepository
    name: bench
`, name, namespace, b.interval, path)
}

func freeAddress(ctx context.Context) (string, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}

func ready(ctx context.Context, address string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz", nil)
	if err != nil {
		return false
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode == http.StatusOK
}

func (b *bench) names() []string {
	names := make([]string, b.n)
	for i := range names {
		names[i] = appName(i + 1)
	}
	return names
}

// everyone is every application.
func (b *bench) everyone() []int {
	apps := make([]int, b.n)
	for i := range apps {
		apps[i] = i + 1
	}
	return apps
}

func (b *bench) measureRaw(ctx context.Context, f *figures) (err error) {
	f.raw, err = b.raw(ctx)
	b.step("the baseline is %s", f.raw.Round(time.Millisecond))
	return err
}

// measureCreate creates the source, lets it settle, and then measures from the
// first creation to the last Ready.
func (b *bench) measureCreate(ctx context.Context, f *figures) error {
	if err := b.start(ctx); err != nil {
		return err
	}
	if err := b.dialect.prepare(b, ctx); err != nil {
		return err
	}
	head, err := b.repo.Head()
	if err != nil {
		return err
	}
	before, err := cpu(b.engine.pids()...)
	if err != nil {
		return err
	}
	mark, err := stage.AuditEnd(b.plane.AuditLog())
	if err != nil {
		return err
	}
	memory := watchMemory(b.engine.pids()...)
	done := b.deliveries.want(b.names(), b.dialect.at(head))
	began := time.Now()
	err = each(ctx, b.n, parallelCreates, func(i int) error {
		return b.api.create(ctx, b.dialect.collection, b.dialect.object(b, appName(i), "apps/"+appName(i), ""))
	})
	if err != nil {
		return err
	}
	at, err := b.deliveries.wait(ctx, done)
	f.readyPeak = memory.close()
	f.peak = f.readyPeak
	if err != nil {
		return err
	}
	f.ready = at.Sub(began)
	after, err := cpu(b.engine.pids()...)
	f.readyCPU = after - before
	b.step("all ready after %s", f.ready.Round(time.Millisecond))
	if err != nil {
		return err
	}
	calls, err := b.calls(mark)
	for what, n := range calls {
		if strings.HasPrefix(what, "watch ") {
			delete(calls, what)
			continue
		}
		f.readyCalls += float64(n) / float64(b.n)
	}
	b.step("asked of the API server: %s", counts(calls))
	return err
}

// measureChain creates a chain in which each link waits for the one before.
func (b *bench) measureChain(ctx context.Context, f *figures) error {
	head, err := b.repo.Head()
	if err != nil {
		return err
	}
	var names []string
	for i := 1; i <= b.links; i++ {
		names = append(names, linkName(i))
	}
	done := b.deliveries.want(names, b.dialect.at(head))
	began := time.Now()
	for i, name := range names {
		after := ""
		if i > 0 {
			after = names[i-1]
		}
		if err := b.api.create(ctx, b.dialect.collection, b.dialect.object(b, name, "chain/"+name, after)); err != nil {
			return err
		}
	}
	at, err := b.deliveries.wait(ctx, done)
	if err != nil {
		return err
	}
	f.chain = at.Sub(began)
	gone := make([]error, 0, len(names))
	for _, name := range names {
		gone = append(gone, b.api.do(ctx, http.MethodDelete, b.dialect.collection+"/"+name, asJSON, nil))
	}
	return errors.Join(gone...)
}

// change commits a value to applications and returns when their objects have
// it, counted from the moment that the source is woken.
func (b *bench) change(ctx context.Context, apps []int, value string) (took time.Duration, head string, err error) {
	var names []string
	for _, i := range apps {
		names = append(names, markerName(i))
	}
	done := b.markers.want(names, valued(value))
	began := time.Now()
	if head, err = b.dialect.set(b, ctx, apps, value); err != nil {
		return 0, "", err
	}
	if b.dialect.plural != "helmreleases" {
		began = time.Now() // what Git takes is not measured
	}
	if err := b.dialect.wake(b, ctx); err != nil {
		return 0, "", err
	}
	at, err := b.markers.wait(ctx, done)
	return at.Sub(began), head, err
}

// settle waits until every status tells of a commit.
func (b *bench) settle(ctx context.Context, head string) error {
	_, err := b.deliveries.wait(ctx, b.deliveries.want(b.names(), b.dialect.at(head)))
	return err
}

// app spreads the samples over the applications.
func (b *bench) app(sample int) int { return sample*7919%b.n + 1 }

func (b *bench) measureCommits(ctx context.Context, f *figures) error {
	half := b.commits / 2
	pids := b.engine.pids()
	mark, err := stage.AuditEnd(b.plane.AuditLog())
	if err != nil {
		return err
	}
	before, err := cpu(pids...)
	if err != nil {
		return err
	}
	var head string
	for i := range half {
		took, commit, err := b.change(ctx, []int{b.app(i)}, fmt.Sprintf("settled-%d", i))
		if err != nil {
			return err
		}
		if err := b.settle(ctx, commit); err != nil {
			return err
		}
		f.settled = append(f.settled, took)
		if len(f.settled)%progress == 0 {
			b.step("%d commits, the last settled", len(f.settled))
		}
	}
	after, err := cpu(pids...)
	if err != nil {
		return err
	}
	f.otherCPU = (after - before) / time.Duration(half)
	requests, err := stage.ReadAudit(b.plane.AuditLog(), mark)
	if err != nil {
		return err
	}
	for _, r := range requests {
		switch {
		case !b.engine.made(r) || r.Resource == "leases" || r.Verb == "watch":
		case r.Subresource == "status", r.Resource == b.dialect.plural && r.Subresource == "":
			f.statuses++
		default:
			f.others++
		}
	}
	f.statuses /= float64(half)
	f.others /= float64(half)
	b.step("one application, statuses settled: p50 %s p99 %s", f.settled.at(50), f.settled.at(99))

	for i := range b.commits - half {
		took, commit, err := b.change(ctx, []int{b.app(i)}, fmt.Sprintf("unsettled-%d", i))
		if err != nil {
			return err
		}
		f.unsettled, head = append(f.unsettled, took), commit
	}
	b.step("one application, statuses under way: p50 %s p99 %s", f.unsettled.at(50), f.unsettled.at(99))
	return b.settle(ctx, head)
}

func (b *bench) measureAll(ctx context.Context, f *figures) error {
	memory := watchMemory(b.engine.pids()...)
	took, head, err := b.change(ctx, b.everyone(), "all")
	if err == nil {
		err = b.settle(ctx, head)
	}
	f.all, f.peak = took, max(f.readyPeak, memory.close())
	return err
}

// measureDrift edits objects by hand. The time counts from the answer to the
// edit, as somebody at a terminal sees it.
func (b *bench) measureDrift(ctx context.Context, f *figures) error {
	for i := range b.drifts {
		took, err := b.drift(ctx, b.app(i))
		if err != nil {
			return err
		}
		f.healed = append(f.healed, took)
	}
	return nil
}

func (b *bench) drift(ctx context.Context, app int) (time.Duration, error) {
	name := markerName(app)
	want := b.markers.last(name).Data.Value
	edited := b.markers.want([]string{name}, func(o *seen) bool { return o.Data.Value != want })
	if err := b.edit(ctx, name); err != nil {
		return 0, err
	}
	answered := time.Now()
	if _, err := b.markers.wait(ctx, edited); err != nil {
		return 0, err
	}
	at, err := b.markers.wait(ctx, b.markers.want([]string{name}, valued(want)))
	return max(0, at.Sub(answered)), err
}

func (b *bench) edit(ctx context.Context, marker string) error {
	path := "/api/v1/namespaces/" + targetNamespace + "/configmaps/" + marker
	return b.api.merge(ctx, path, map[string]any{"data": map[string]string{"value": "edited by hand"}})
}

// Work that was put off comes after the last status: rest begins when nothing has
// been written for afterglow, or else after longestGlow.
const (
	afterglow   = 5 * time.Second
	longestGlow = 3 * time.Minute
)

// settleDown waits for the work that was put off.
func (b *bench) settleDown(ctx context.Context) error {
	for began := time.Now(); time.Since(began) < longestGlow; {
		mark, err := stage.AuditEnd(b.plane.AuditLog())
		if err != nil {
			return err
		}
		if err := pause(ctx, afterglow); err != nil {
			return err
		}
		calls, err := b.calls(mark)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(slices.Collect(maps.Keys(calls)), isWrite) {
			return nil
		}
	}
	return nil
}

func (b *bench) measureRest(ctx context.Context, f *figures) error {
	if err := b.settleDown(ctx); err != nil {
		return err
	}
	pids := b.engine.pids()
	mark, err := stage.AuditEnd(b.plane.AuditLog())
	if err != nil {
		return err
	}
	before, err := cpu(pids...)
	if err != nil {
		return err
	}
	if err := pause(ctx, b.rest); err != nil {
		return err
	}
	after, err := cpu(pids...)
	if err != nil {
		return err
	}
	f.restCPU = after - before
	if f.restMemory, err = anonymous(pids...); err != nil {
		return err
	}
	f.restCalls, err = b.calls(mark)
	return err
}

// calls counts the engine's requests since a mark, without leases.
func (b *bench) calls(mark int64) (map[string]int, error) {
	requests, err := stage.ReadAudit(b.plane.AuditLog(), mark)
	calls := map[string]int{}
	for _, r := range requests {
		if b.engine.made(r) && r.Resource != "leases" {
			what := r.Verb + " " + r.Resource
			if r.Subresource != "" {
				what += "/" + r.Subresource
			}
			calls[what]++
		}
	}
	return calls, err
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// measureRestart stops the controller, makes drift in one application, and
// measures from the start of the new process until that is healed. Then it
// lists what else was written.
func (b *bench) measureRestart(ctx context.Context, f *figures) error {
	if err := b.engine.stop(); err != nil {
		return err
	}
	name := markerName(b.n)
	want := b.markers.last(name).Data.Value
	edited := b.markers.want([]string{name}, func(o *seen) bool { return o.Data.Value != want })
	if err := b.edit(ctx, name); err != nil {
		return err
	}
	if _, err := b.markers.wait(ctx, edited); err != nil {
		return err
	}
	healed := b.markers.want([]string{name}, valued(want))
	mark, err := stage.AuditEnd(b.plane.AuditLog())
	if err != nil {
		return err
	}
	began := time.Now()
	if err := b.start(ctx); err != nil {
		return err
	}
	memory := watchMemory(b.engine.pids()...)
	at, err := b.markers.wait(ctx, healed)
	if err != nil {
		return err
	}
	f.restart = at.Sub(began)
	if err := pause(ctx, afterglow); err != nil {
		return err
	}
	f.peak = max(f.peak, memory.close())
	calls, err := b.calls(mark)
	f.writes = map[string]int{}
	for what, count := range calls {
		if isWrite(what) {
			f.writes[what] = count
		}
	}
	return err
}
