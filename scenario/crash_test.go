package scenario

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

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
// A run mostly waits, so that four clusters share the changes.
func TestCrashPoints(t *testing.T) {
	forge := openForge(t)
	const clusters = 4
	for lane := range clusters {
		t.Run(fmt.Sprintf("cluster%d", lane+1), func(t *testing.T) {
			t.Parallel()
			crashLane(t, forge, lane, clusters)
		})
	}
}

// crashLane plays every n-th change on a cluster of its own.
func crashLane(t *testing.T, forge *stage.Forge, lane, n int) {
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
	for i := lane; i < len(changes); i += n {
		t.Run(changes[i].name, func(t *testing.T) {
			c := &crashing{t: t, th: th, forge: forge, change: &changes[i], dir: dir, arm: arm}
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

// crashing plays one change at every point.
type crashing struct {
	t      *testing.T
	th     *theatre
	forge  *stage.Forge
	change *change
	dir    string
	arm    string
	runs   int
}

func (c *crashing) everywhere() {
	want, _ := c.play("", "")
	points := 0
	began := time.Now()
	for _, when := range []string{"before", "after"} {
		for n := 1; ; n++ {
			at := fmt.Sprintf("%s:%d", when, n)
			got, crashed := c.play(at, want)
			if !crashed {
				break
			}
			points++
			if got != want {
				c.t.Errorf("killed %s write %d, the cluster is not what it is without a crash:\n--- want\n%s\n--- got\n%s", when, n, want, got)
			}
		}
	}
	if points == 0 {
		c.t.Error("the change writes nothing: it has no point to crash at")
	}
	verdict := "all converged"
	if c.t.Failed() {
		verdict = "not all of them well"
	}
	c.t.Logf("%s: killed at %d points, %s, %s", c.change.name, points, verdict, time.Since(began).Round(time.Second))
}

// play plays the change once, with a crash at a point ("": none), and returns
// what the cluster holds in the end and whether the controller died. want is
// what it has to hold then; "" when that is not known yet.
func (c *crashing) play(at, want string) (string, bool) {
	c.t.Helper()
	c.runs++
	ctx, cancel := context.WithTimeout(context.Background(), 3*settleLimit)
	defer cancel()
	s, err := c.open(ctx)
	if err != nil {
		c.t.Fatalf("%s: %v", at, err)
	}
	existed, err := c.uids(ctx, s)
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
	got, err := c.outcome(ctx, s, want)
	if err != nil {
		c.t.Fatalf("%s: %v", at, err)
	}
	c.compareUIDs(ctx, s, at, existed)
	if err := c.leave(ctx, s); err != nil {
		c.t.Fatalf("%s: %v", at, err)
	}
	return got, crashed
}

// open brings a namespace of its own to the state before the change.
func (c *crashing) open(ctx context.Context) (*story, error) {
	namespace := fmt.Sprintf("crash-%s-%d", c.change.name, c.runs)
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
func (c *crashing) outcome(ctx context.Context, s *story, want string) (string, error) {
	if err := c.holds(ctx, s, c.change.done); err != nil {
		return "", err
	}
	patient, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	tick := time.NewTicker(patience)
	defer tick.Stop()
	for {
		got, err := c.th.kube.Dump(ctx, s.known["NS"], strings.NewReplacer(s.known["NS"], "NS", s.known["REPO_URL"], "REPO_URL"))
		if err != nil || want == "" || got == want {
			return got, err
		}
		select {
		case <-patient.Done():
			return got, nil
		case <-tick.C:
		}
	}
}

// uids are those of the objects in the namespace, as KIND/NAME.
func (c *crashing) uids(ctx context.Context, s *story) (map[string]string, error) {
	objects, err := c.th.kube.All(ctx, s.known["NS"])
	if err != nil {
		return nil, err
	}
	uids := map[string]string{}
	for i := range objects {
		uids[brief(&objects[i])] = string(objects[i].GetUID())
	}
	return uids, nil
}

func brief(o *unstructured.Unstructured) string {
	return strings.ToLower(o.GetKind()) + "/" + o.GetName()
}

// compareUIDs finds objects that were there before and were recreated.
func (c *crashing) compareUIDs(ctx context.Context, s *story, at string, existed map[string]string) {
	c.t.Helper()
	exist, err := c.uids(ctx, s)
	if err != nil {
		c.t.Fatal(err)
	}
	recreated := map[string]bool{}
	for _, object := range c.change.recreated {
		recreated[object] = true
	}
	var wrong []string
	for object, uid := range existed {
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
