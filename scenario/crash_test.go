package scenario

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/scenario/stage"
)

// The limits of one point of a crash run.
const (
	settleLimit = time.Minute
	// afterglow is how long a controller that has settled is given to come to
	// the write that it is to die at: events and statuses come last.
	afterglow = 2 * time.Second
)

// TestCrashPoints plays some changes again and again, and kills the controller
// at every write that it makes: before the API server hears of it, and after
// it answered. Each time the controller that follows must bring the cluster to
// the state that a run without a crash has, and must not recreate an object
// that was there before.
//
// Eight clusters share the work, each taking what is next: most of the time they
// wait for controllers.
func TestCrashPoints(t *testing.T) {
	forge := openForge(t)
	const clusters = 8
	work := crashWork()
	for lane := range clusters {
		t.Run(fmt.Sprintf("cluster%d", lane+1), func(t *testing.T) {
			t.Parallel()
			crashLane(t, forge, work)
		})
	}
}

// crashWork lists what there is to play: each change with the kills before its
// writes, and with those after them. The last changes take longest, and come
// first.
func crashWork() <-chan *crashing {
	work := make(chan *crashing, 2*len(changes))
	baselines := make([]baseline, len(changes))
	for _, when := range []string{"before", "after"} {
		for i := range slices.Backward(changes) {
			work <- &crashing{change: &changes[i], without: &baselines[i], when: when}
		}
	}
	close(work)
	return work
}

// crashLane plays on a cluster of its own until nothing is left.
func crashLane(t *testing.T, forge *stage.Forge, work <-chan *crashing) {
	dir, err := os.MkdirTemp("", "plumb-crash-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	th, err := openTheatre(filepath.Join(dir, "cluster"), false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := th.close(); err != nil {
			t.Error(err)
		}
	})
	arm := filepath.Join(dir, "arm")
	if err := th.begin("main", nil, []string{armVariable + "=" + arm}); err != nil {
		t.Fatal(err)
	}
	for c := range work {
		t.Run(c.change.name+"-"+c.when, func(t *testing.T) {
			c.t, c.th, c.forge, c.dir, c.arm = t, th, forge, dir, arm
			c.everywhere()
		})
	}
}

// A change is what happens to a settled cluster while the controller is to be
// killed.
type change struct {
	name     string
	declared string            // objects that are applied first; $NS and $REPO_URL are filled in
	before   map[string]string // files of the first commit
	settled  map[string]string // questions that hold when it has settled: KIND/NAME → words
	after    map[string]string // all files of the next commit; nil: no commit
	remove   []string          // objects that are deleted instead, as KIND/NAME
	done     map[string]string // questions that hold when the change is through
	// recreated are objects that get another uid, as KIND/NAME.
	recreated []string
}

// A baseline is what a change comes to without a crash. Whoever asks first plays
// it.
type baseline struct {
	mu    sync.Mutex
	want  string
	kinds map[schema.GroupVersionResource]bool // of all objects that were there, see crashing.general
}

// crashing plays one change at every point of one side of its writes.
type crashing struct {
	t       *testing.T
	th      *theatre
	forge   *stage.Forge
	change  *change
	without *baseline
	when    string // before or after the write
	dir     string
	arm     string
	runs    int
	played  []string // namespaces
}

func (c *crashing) everywhere() {
	began := time.Now()
	c.playWithout()
	points := 0
	for n := 1; ; n++ {
		got, crashed := c.play(fmt.Sprintf("%s:%d", c.when, n))
		if !crashed {
			break
		}
		points++
		if want := c.without.want; got != want {
			c.t.Errorf("killed %s write %d, the cluster is not what it is without a crash:\n--- want\n%s\n--- got\n%s", c.when, n, want, got)
		}
	}
	if points == 0 {
		c.t.Error("the change writes nothing: it has no point to crash at")
	}
	c.compareKinds()
	verdict := "all converged"
	if c.t.Failed() {
		verdict = "not all of them well"
	}
	c.t.Logf("%s: killed %s %d writes, %s, %s", c.change.name, c.when, points, verdict, time.Since(began).Round(time.Second))
}

// playWithout plays the change without a crash, unless that was done.
func (c *crashing) playWithout() {
	c.t.Helper()
	c.without.mu.Lock()
	defer c.without.mu.Unlock()
	if c.without.want == "" {
		c.without.kinds = map[schema.GroupVersionResource]bool{}
		c.without.want, _ = c.play("")
	}
}

// play plays the change once, with a crash at a point ("": none), and returns
// what the cluster holds in the end and whether the controller died.
func (c *crashing) play(at string) (string, bool) {
	c.t.Helper()
	c.runs++
	ctx, cancel := context.WithTimeout(context.Background(), 3*settleLimit)
	defer cancel()
	s, err := c.open(ctx)
	if err != nil {
		c.t.Fatalf("%s: %v", at, err)
	}
	existed, err := c.objects(ctx, s)
	if err != nil {
		c.t.Fatal(err)
	}
	if at != "" {
		if err := arm(c.arm, s.known["NS"], at); err != nil {
			c.t.Fatal(err)
		}
	}
	if err := c.make(ctx, s); err != nil {
		c.t.Fatalf("%s: %v", at, err)
	}
	crashed, err := c.await(ctx, s)
	if err != nil {
		c.t.Fatalf("%s: %v", at, err)
	}
	if err := disarm(c.arm); err != nil {
		c.t.Fatal(err)
	}
	if crashed {
		if !c.th.controller("main").proc.Killed() {
			c.t.Fatalf("%s: the controller has ended by itself; it said:\n%s", at, c.th.controller("main").log.LastWords(400))
		}
		if err := c.th.begin("main", nil, nil); err != nil {
			c.t.Fatalf("%s: %v", at, err)
		}
	}
	got, exist, err := c.outcome(ctx, s)
	if err != nil {
		c.t.Fatalf("%s: %v", at, err)
	}
	c.compareUIDs(at, existed, exist)
	if err := c.leave(ctx, s); err != nil {
		c.t.Fatalf("%s: %v", at, err)
	}
	return got, crashed
}

// open brings a namespace of its own to the state before the change.
func (c *crashing) open(ctx context.Context) (*story, error) {
	namespace := fmt.Sprintf("crash-%s-%s-%d", c.change.name, c.when, c.runs)
	c.played = append(c.played, namespace)
	work := filepath.Join(c.dir, namespace)
	repo, err := c.forge.NewRepository(namespace, filepath.Join(work, "repo"))
	if err != nil {
		return nil, err
	}
	s := &story{name: c.change.name, work: work, forge: c.forge, repo: repo, th: c.th, known: map[string]string{
		"NS": namespace, "REPO_URL": c.forge.URL(repo.Name()),
	}}
	if err := c.commit(s, c.change.before); err != nil {
		return nil, err
	}
	if err := s.settle(); err != nil {
		return nil, err
	}
	objects, err := stage.Decode([]byte(s.fill(c.change.declared)))
	if err != nil {
		return nil, err
	}
	for _, o := range objects {
		if o.GetNamespace() == "" {
			o.SetNamespace(namespace)
		}
		if err := c.th.kube.Apply(ctx, o, storyManager); err != nil {
			return nil, err
		}
	}
	return s, c.holds(ctx, s, c.change.settled)
}

func (c *crashing) commit(s *story, files map[string]string) error {
	if err := s.repo.Empty(); err != nil {
		return err
	}
	for name, text := range files {
		at := filepath.Join(s.repo.Dir(), filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(at, []byte(s.fill(text)), 0o644); err != nil {
			return err
		}
	}
	head, err := s.repo.Commit("files of " + c.change.name)
	s.known["HEAD"] = head
	return err
}

// make makes the change.
func (c *crashing) make(ctx context.Context, s *story) error {
	if c.change.after != nil {
		if err := c.commit(s, c.change.after); err != nil {
			return err
		}
		source := stage.Name{Kind: "gitrepository", Namespace: s.known["NS"], Name: "repo"}
		if err := c.th.kube.Patch(ctx, source, []byte(`{"metadata":{"annotations":{"reconcile.fluxcd.io/requestedAt":"now"}}}`)); err != nil {
			return err
		}
		if err := c.annotateApplications(ctx, s, `{"metadata":{"annotations":{"argocd.argoproj.io/refresh":"normal"}}}`); err != nil {
			return err
		}
	}
	for _, object := range c.change.remove {
		name, err := stage.ParseName(object, s.known["NS"])
		if err != nil {
			return err
		}
		if err := c.th.kube.Delete(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// await waits until the controller has died, or has done everything and come
// to rest.
func (c *crashing) await(ctx context.Context, s *story) (crashed bool, err error) {
	main := c.th.controller("main")
	if err := c.holds(ctx, s, c.change.done); err != nil {
		if main.proc.Killed() {
			return true, nil
		}
		return false, err
	}
	select {
	case <-main.proc.Done():
		return true, nil
	case <-time.After(afterglow):
		return false, nil
	}
}

// holds waits until every question holds, or the controller has ended.
func (c *crashing) holds(ctx context.Context, s *story, questions map[string]string) error {
	ctx, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	main := c.th.controller("main")
	dead := main.proc.Done()
	go func() {
		select {
		case <-dead:
			cancel()
		case <-ctx.Done():
		}
	}()
	for object, words := range questions {
		name, err := stage.ParseName(s.fill(object), s.known["NS"])
		if err != nil {
			return err
		}
		question, err := stage.ParseQuestion(strings.Fields(s.fill(words)))
		if err != nil {
			return err
		}
		if err := c.th.kube.Await(ctx, name, question); err != nil {
			return fmt.Errorf("%w\nthe controller said:\n%s", err, main.log.LastWords(400))
		}
	}
	return nil
}

// outcome is what the namespace holds when everything is done. What the
// controller told before it died may hold already, so that the rest of what is
// wanted is waited for: what it came to is the last that was seen.
func (c *crashing) outcome(ctx context.Context, s *story) (string, []unstructured.Unstructured, error) {
	if err := c.holds(ctx, s, c.change.done); err != nil {
		return "", nil, err
	}
	patient, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	tick := time.NewTicker(patience)
	defer tick.Stop()
	for {
		objects, err := c.objects(ctx, s)
		if err != nil {
			return "", nil, err
		}
		got, err := stage.Dump(objects, strings.NewReplacer(s.known["NS"], "NS", s.known["REPO_URL"], "REPO_URL"))
		if err != nil || c.without.want == "" || got == c.without.want {
			return got, objects, err
		}
		select {
		case <-patient.Done():
			return got, objects, nil
		case <-tick.C:
		}
	}
}

// objects are those of the namespace: of every kind until it is known what a run
// without a crash has, then of the kinds of that. Those are few, and a crash is
// followed by several such looks; compareKinds looks at all the others.
func (c *crashing) objects(ctx context.Context, s *story) ([]unstructured.Unstructured, error) {
	if c.without.want != "" {
		return c.th.kube.All(ctx, s.known["NS"], c.particular(s.known["NS"]))
	}
	kinds, err := c.th.kube.Kinds()
	if err != nil {
		return nil, err
	}
	var all []unstructured.Unstructured
	for _, kind := range kinds {
		some, err := c.th.kube.All(ctx, s.known["NS"], []schema.GroupVersionResource{kind})
		if err != nil {
			return nil, err
		}
		if len(some) > 0 {
			c.without.kinds[general(kind, s.known["NS"])] = true
		}
		all = append(all, some...)
	}
	return all, nil
}

// general is a kind that is named after the namespace, for all namespaces.
func general(kind schema.GroupVersionResource, namespace string) schema.GroupVersionResource {
	kind.Group = strings.Replace(kind.Group, namespace, "NS", 1)
	return kind
}

// particular are the kinds of the baseline in one namespace.
func (c *crashing) particular(namespace string) []schema.GroupVersionResource {
	var kinds []schema.GroupVersionResource
	for kind := range c.without.kinds {
		kind.Group = strings.Replace(kind.Group, "NS", namespace, 1)
		kinds = append(kinds, kind)
	}
	return kinds
}

// compareKinds finds objects of kinds that a run without a crash has none of, in
// all namespaces that were played in.
func (c *crashing) compareKinds() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), settleLimit)
	defer cancel()
	kinds, err := c.th.kube.Kinds()
	if err != nil {
		c.t.Fatal(err)
	}
	for _, kind := range kinds {
		objects, err := c.th.kube.All(ctx, "", []schema.GroupVersionResource{kind})
		if err != nil {
			c.t.Fatal(err)
		}
		for _, o := range objects {
			if slices.Contains(c.played, o.GetNamespace()) && !c.without.kinds[general(kind, o.GetNamespace())] {
				c.t.Errorf("%s in %s: without a crash there is nothing of its kind", brief(&o), o.GetNamespace())
			}
		}
	}
}

// uids are those of objects, as KIND/NAME.
func uids(objects []unstructured.Unstructured) map[string]string {
	uids := map[string]string{}
	for i := range objects {
		uids[brief(&objects[i])] = string(objects[i].GetUID())
	}
	return uids
}

func brief(o *unstructured.Unstructured) string {
	return strings.ToLower(o.GetKind()) + "/" + o.GetName()
}

// compareUIDs finds objects that were there before and were recreated.
func (c *crashing) compareUIDs(at string, before, after []unstructured.Unstructured) {
	c.t.Helper()
	exist := uids(after)
	recreated := map[string]bool{}
	for _, object := range c.change.recreated {
		recreated[object] = true
	}
	var wrong []string
	for object, uid := range uids(before) {
		if now, stays := exist[object]; stays && now != uid && !recreated[object] {
			wrong = append(wrong, object)
		}
	}
	sort.Strings(wrong)
	if len(wrong) > 0 {
		c.t.Errorf("killed at %s, objects were recreated: %s\nthe controller said:\n%s", at, strings.Join(wrong, ", "), c.th.controller("main").log.Tail(12))
	}
}

// leave suspends what the run declared, so that it costs the next ones
// nothing.
func (c *crashing) leave(ctx context.Context, s *story) error {
	var all error
	for _, kind := range []string{"kustomization", "helmrelease", "gitrepository"} {
		objects, err := c.th.kube.List(ctx, kind, s.known["NS"])
		if err != nil {
			return err
		}
		for _, o := range objects {
			name := stage.Name{Kind: kind, Namespace: o.GetNamespace(), Name: o.GetName()}
			all = errors.Join(all, c.th.kube.Patch(ctx, name, []byte(`{"spec":{"suspend":true}}`)))
		}
	}
	return errors.Join(all, c.annotateApplications(ctx, s, `{"metadata":{"annotations":{"argocd.argoproj.io/skip-reconcile":"true"}}}`))
}

// annotateApplications patches every Application of the run.
func (c *crashing) annotateApplications(ctx context.Context, s *story, patch string) error {
	objects, err := c.th.kube.List(ctx, "application", s.known["NS"])
	if err != nil {
		return err
	}
	var all error
	for _, o := range objects {
		all = errors.Join(all, c.th.kube.Patch(ctx, stage.Name{Kind: "application", Namespace: o.GetNamespace(), Name: o.GetName()}, []byte(patch)))
	}
	return all
}
