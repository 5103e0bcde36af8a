package api

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"plumb.dev/plumb/internal/api/access"
	"plumb.dev/plumb/internal/api/board"
	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/api/rows"
	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/policy"
	"plumb.dev/plumb/internal/signin"
)

// asCaller is a context of a call that somebody makes.
func asCaller(t testing.TB, ctx context.Context, s *Server, who signin.Principal) context.Context {
	t.Helper()
	return context.WithValue(ctx, callerKey{}, s.guard.Caller(who))
}

// watching follows deliveries for somebody, and tells what was sent since it was
// asked last.
func watching(t *testing.T, s *Server, who signin.Principal) (told func() string) {
	t.Helper()
	f, err := s.deliveries.Follow(board.Query{}, "")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var messages []string
	stream := followed[*plumbv1.Delivery]{server: s, rows: f, target: targetOf, send: func(delta board.Delta[*plumbv1.Delivery], _ *access.Caller) error {
		var names []string
		for _, row := range delta.Changed {
			names = append(names, row.GetRef().GetName())
		}
		text := fmt.Sprintf("%d changed of %d", len(names), delta.Total)
		if len(names) == 1 {
			text = fmt.Sprintf("%s of %d", names[0], delta.Total)
		}
		if delta.Reset {
			text = "reset: " + text
		}
		for _, id := range delta.Removed {
			text += " -" + id.Name
		}
		mu.Lock()
		defer mu.Unlock()
		messages = append(messages, text)
		return nil
	}}
	ctx, stop := context.WithCancel(asCaller(t, context.Background(), s, who))
	ended := make(chan error, 1)
	go func() { ended <- stream.run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return func() string {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		text := strings.Join(messages, "; ")
		messages = nil
		return text
	}
}

func TestAStreamTellsOfWhatTheCallerSees(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := matrixServer(t)
		admin, fritz := watching(t, s, callers[0].who), watching(t, s, callers[2].who)
		expect := func(what, wantAdmin, wantFritz string) {
			t.Helper()
			if a, f := admin(), fritz(); a != wantAdmin || f != wantFritz {
				t.Errorf("%s: admin is told %q, fritz %q", what, a, f)
			}
		}
		expect("at the beginning", "reset: 4 changed of 4", "reset: apps of 1")
		s.deliveries.Put(rows.ID(ref("Kustomization", "team", "late")), &plumbv1.Delivery{Ref: ref("Kustomization", "team", "late")})
		s.deliveries.Put(rows.ID(ref("Kustomization", "bank", "vault")), &plumbv1.Delivery{Ref: ref("Kustomization", "bank", "vault")})
		expect("before the burst is over", "", "")
		time.Sleep(gathered)
		expect("two come", "2 changed of 6", "late of 2")
		s.deliveries.Remove(rows.ID(ref("Kustomization", "team", "late")))
		time.Sleep(gathered)
		expect("one goes", "0 changed of 5 -late", "0 changed of 1 -late")
		time.Sleep(10 * rechecked)
		expect("nothing happens", "", "")
	})
}

// shiftingCluster changes its mind.
type shiftingCluster struct {
	mu  sync.Mutex
	now testCluster
}

func (c *shiftingCluster) become(now testCluster) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = now
}

func (c *shiftingCluster) AccessReview(ctx context.Context, a cluster.Access) (bool, string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now.AccessReview(ctx, a)
}

// TestAStreamFollowsRights: what somebody may see no more goes, and what they may
// see now comes, whether a policy said so or the cluster.
func TestAStreamFollowsRights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := matrixServer(t)
		robot := &shiftingCluster{now: testCluster{{"robot", "list", "kustomizations", "team"}}}
		s.guard = access.New(access.Options{Control: "argocd", Plural: s.plural, Reviewer: robot})
		told := watching(t, s, signin.Principal{Kind: signin.KindKubernetes, Name: "robot", Subject: "robot", KubernetesUser: "robot"})
		if got := told(); got != "reset: apps of 1" {
			t.Fatalf("at the beginning: %q", got)
		}
		robot.become(testCluster{{"robot", "list", "kustomizations", ""}})
		time.Sleep(3 * rechecked)
		if got := told(); got != "reset: 2 changed of 2" {
			t.Errorf("the cluster lets it see more: %q", got)
		}
		robot.become(nil)
		time.Sleep(3 * rechecked)
		if got := told(); got != "reset: 0 changed of 0" {
			t.Errorf("the cluster lets it see nothing: %q", got)
		}
		config, _ := policy.FromConfigMap(map[string]string{"policy.csv": "p, robot, applications, get, shop/*, allow"})
		s.guard.SetPolicy(policy.Compile(config, nil))
		s.deliveries.Put(rows.ID(ref("Kustomization", "team", "other")), &plumbv1.Delivery{Ref: ref("Kustomization", "team", "other")})
		time.Sleep(gathered)
		if got := told(); got != "reset: web of 1" {
			t.Errorf("a policy lets it see something: %q", got)
		}
	})
}

func TestListedSendsWhatDiffers(t *testing.T) {
	project := func(name, description string) *plumbv1.Project {
		return &plumbv1.Project{Ref: ref("Application", "argocd", name), Description: description}
	}
	name := func(p *plumbv1.Project) string { return p.GetRef().GetName() }
	first := []*plumbv1.Project{project("a", ""), project("b", "")}
	known := revisionOf(first)
	if known == "" || known != revisionOf([]*plumbv1.Project{proto.CloneOf(first[0]), proto.CloneOf(first[1])}) || known == revisionOf(first[:1]) {
		t.Fatalf("the revision %q does not name the content", known)
	}
	show := func(c listChange[*plumbv1.Project], ok bool) string {
		var changed []string
		for _, p := range c.changed {
			changed = append(changed, name(p))
		}
		return fmt.Sprintf("%v %v %v %v", ok, c.reset, changed, c.removed)
	}
	for what, since := range map[string]string{"true true [a b] []": "", "true false [] []": known} {
		l := listed[*plumbv1.Project]{since: since, name: name}
		if got := show(l.next(first)); got != what {
			t.Errorf("who comes with %q is told %s, want %s", since, got, what)
		}
		if got := show(l.next(first)); got != "false false [] []" {
			t.Errorf("nothing has changed, and told is %s", got)
		}
		if got := show(l.next([]*plumbv1.Project{project("b", "new"), project("c", "")})); got != "true false [b c] [a]" {
			t.Errorf("told is %s", got)
		}
	}
}
