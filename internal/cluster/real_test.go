package cluster

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/clientcmd"

	"plumb.dev/plumb/internal/controlplane"
	"plumb.dev/plumb/internal/model"
)

// The tests of this file's helpers share one real control plane, which starts
// with the first of them.
var shared struct {
	once sync.Once
	cp   *controlplane.Cluster
	err  error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.cp != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		if err := shared.cp.Stop(ctx); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		cancel()
	}
	os.Exit(code)
}

// kubeconfigPath starts the shared control plane if needed.
func kubeconfigPath(t testing.TB) string {
	t.Helper()
	shared.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		shared.cp, shared.err = controlplane.Start(ctx, controlplane.Options{})
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.cp.Kubeconfig
}

// realSet is a set whose local cluster is the shared control plane.
func realSet(t testing.TB, opts Options) *Set {
	t.Helper()
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfigPath(t))
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSet(cfg, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func gvk(apiVersion, kind string) schema.GroupVersionKind {
	return schema.FromAPIVersionAndKind(apiVersion, kind)
}

// mustKind resolves a kind.
func mustKind(t testing.TB, c *Cluster, apiVersion, kind string) Kind {
	t.Helper()
	k, err := c.Resolve(testContext(t), gvk(apiVersion, kind))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// fromJSON decodes by the reference decoder.
func fromJSON(t testing.TB, text string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	if err := json.Unmarshal([]byte(text), &o.Object); err != nil {
		t.Fatal(err)
	}
	return o
}

// newNamespace makes a namespace of its own for a test.
func newNamespace(t testing.TB, c *Cluster) string {
	t.Helper()
	o := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"generateName": "t-"},
	}}
	got, err := c.As(model.Identity{}).Create(testContext(t), mustKind(t, c, "v1", "Namespace"), o, WriteOptions{Manager: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return got.GetName()
}

// recorder is a handler that keeps what it was told, one line per call, and
// lets tests wait for a line.
type recorder struct {
	mu    sync.Mutex
	lines []string
	wake  chan struct{}
	note  func(typ watch.EventType, o *unstructured.Unstructured) string
}

func newRecorder() *recorder { return &recorder{wake: make(chan struct{})} }

func (r *recorder) add(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, line)
	close(r.wake)
	r.wake = make(chan struct{})
}

func (r *recorder) Event(typ watch.EventType, o *unstructured.Unstructured) {
	line := string(typ) + " " + o.GetName()
	if r.note != nil {
		line += " " + r.note(typ, o)
	}
	r.add(line)
}
func (r *recorder) Synced()        { r.add("SYNCED") }
func (r *recorder) Gone(err error) { r.add("GONE " + err.Error()) }

func (r *recorder) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.lines...)
}

// await returns once n lines start with prefix.
func (r *recorder) await(t testing.TB, prefix string, n int) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		r.mu.Lock()
		count := 0
		for _, l := range r.lines {
			if strings.HasPrefix(l, prefix) {
				count++
			}
		}
		wake := r.wake
		r.mu.Unlock()
		if count >= n {
			return
		}
		select {
		case <-wake:
		case <-deadline:
			t.Fatalf("waited in vain for %d of %q; told so far:\n%s", n, prefix, strings.Join(r.all(), "\n"))
		}
	}
}
