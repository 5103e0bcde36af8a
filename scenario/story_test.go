package scenario

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/scenario/stage"
)

// TestScenarios tells every story.
func TestScenarios(t *testing.T) {
	forge := openForge(t)
	testscript.Run(t, testscript.Params{
		Dir:                "stories",
		RequireUniqueNames: true,
		Setup:              func(env *testscript.Env) error { return raiseCurtain(env, forge) },
		Cmds:               words(),
	})
}

func openForge(t *testing.T) *stage.Forge {
	t.Helper()
	dir, err := os.MkdirTemp("", "plumb-forge-")
	if err != nil {
		t.Fatal(err)
	}
	forge, err := stage.NewForge(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		forge.Close()
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return forge
}

// A story is what one script has of its own.
type story struct {
	name  string
	work  string
	forge *stage.Forge
	repo  *stage.Repository

	th      *theatre    // once opened
	own     bool        // the theatre is this story's alone
	audited int64       // where audit-mark stood
	second  *stage.Kube // of second-cluster
	web     *stage.Web  // once told what to answer
	wakes   int

	tokens map[string]string // of the API, by address and account
	stream *stage.Stream     // of open-stream

	call     *stage.Process // of argocd-begin and argocd-sso
	callSaid *stage.Log
	dex      *stage.Dex

	warehouse *stage.Warehouse // once something was put into it
	cleanups  func(func())
	failed    func(...any)      // ends the story, which has failed
	known     map[string]string // what files may refer to by $NAME
}

type storyKey struct{}

func of(ts *testscript.TestScript) *story { return ts.Value(storyKey{}).(*story) }

var storyNumber atomic.Int64

// raiseCurtain gives a story its repository. Its cluster comes with the first
// word that needs one.
func raiseCurtain(env *testscript.Env, forge *stage.Forge) error {
	name := strings.TrimPrefix(filepath.Base(env.WorkDir), "script-")
	namespace := fmt.Sprintf("%s-%d", strings.ToLower(notDNS.ReplaceAllString(name, "-")), storyNumber.Add(1))
	repo, err := forge.NewRepository(namespace, filepath.Join(env.WorkDir, ".work"))
	if err != nil {
		return err
	}
	s := &story{name: name, work: env.WorkDir, forge: forge, repo: repo, cleanups: env.Defer, failed: env.T().Fatal, known: map[string]string{
		"NS": namespace, "REPO_URL": forge.URL(repo.Name()),
	}}
	for key, value := range s.known {
		env.Setenv(key, value)
	}
	env.Values[storyKey{}] = s
	return nil
}

var notDNS = regexp.MustCompile(`[^A-Za-z0-9-]+`)

// stage is the story's theatre; it is opened, and a namespace with a
// GitRepository put on it, when it is asked for first.
func (s *story) stage() (*theatre, error) {
	if s.th != nil {
		return s.th, nil
	}
	th, err := shared.open()
	if err != nil {
		return nil, err
	}
	s.th = th
	return th, s.settle()
}

// kube is the cluster that a word is about: the story's, or with "-on second"
// the other one.
func (s *story) kube(opts map[string]string) (*stage.Kube, error) {
	switch on, given := opts["-on"]; {
	case !given:
		th, err := s.stage()
		if err != nil {
			return nil, err
		}
		return th.kube, nil
	case on == "second" && s.second != nil:
		return s.second, nil
	default:
		return nil, fmt.Errorf("there is no cluster %q: begin with second-cluster", on)
	}
}

// patience is how often a word that waits looks whether the controllers live.
const patience = 250 * time.Millisecond

// watchful waits, but not for a controller that has ended by itself: a race, a
// panic.
func (s *story) watchful(ctx context.Context, wait func(context.Context) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	tick := time.NewTicker(patience)
	defer tick.Stop()
	done := make(chan error, 1)
	go func() { done <- wait(ctx) }()
	for {
		select {
		case err := <-done:
			return errors.Join(err, s.th.fallen())
		case <-tick.C:
			if err := s.th.fallen(); err != nil {
				stop(err)
				<-done
				return err
			}
		}
	}
}

// openOwn opens a theatre for this story alone.
func (s *story) openOwn(audit bool) error {
	if s.th != nil {
		return fmt.Errorf("own-cluster has to come first")
	}
	th, err := openTheatre(filepath.Join(s.work, ".cluster"), audit)
	if err != nil {
		return err
	}
	s.th, s.own = th, true
	s.cleanups(func() {
		if err := th.close(); err != nil {
			s.failed(err)
		}
	})
	return s.settle()
}

// settle makes the story's namespace and its GitRepository.
func (s *story) settle() error {
	ctx, cancel := context.WithTimeout(context.Background(), awaitLimit)
	defer cancel()
	for _, text := range []string{namespaceText, sourceText, projectText} {
		objects, err := stage.Decode([]byte(s.fill(text)))
		if err != nil {
			return err
		}
		for _, o := range objects {
			if err := s.th.kube.Apply(ctx, o, storyManager); err != nil {
				return fmt.Errorf("%s %s: %w", o.GetKind(), o.GetName(), err)
			}
		}
	}
	return nil
}

// storyManager is the field manager of what stories apply.
const storyManager = "story"

const namespaceText = `
apiVersion: v1
kind: Namespace
metadata:
  name: $NS
`

// The intervals of the stories are long, so that nothing happens by a timer.
const sourceText = `
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata:
  name: repo
  namespace: $NS
spec:
  interval: 1h
  url: $REPO_URL
  ref:
    branch: main
`

// Applications of stories live in the namespace of their story, which their
// project allows.
const projectText = `
apiVersion: v1
kind: Namespace
metadata:
  name: argocd
---
apiVersion: argoproj.io/v1alpha1
kind: AppProject
metadata:
  name: default
  namespace: argocd
spec:
  sourceRepos: ["*"]
  sourceNamespaces: ["*"]
  destinations:
  - {server: "*", namespace: "*"}
  clusterResourceWhitelist:
  - {group: "*", kind: "*"}
`

// fill replaces the names that the story knows, and no others: ${…} belongs to
// substitution.
func (s *story) fill(text string) string {
	return reference.ReplaceAllStringFunc(text, func(word string) string {
		if value, ok := s.known[word[1:]]; ok {
			return value
		}
		return word
	})
}

var reference = regexp.MustCompile(`\$[A-Z][A-Z_0-9]*`)

// learn keeps a value for the script and its files.
func (s *story) learn(ts *testscript.TestScript, name, value string) {
	s.known[name] = value
	ts.Setenv(name, value)
}

// objects reads the objects of a file of the story, in the story's namespace
// where they name none.
func (s *story) objects(ts *testscript.TestScript, file string) []*unstructured.Unstructured {
	objects, err := stage.Decode([]byte(s.fill(ts.ReadFile(file))))
	ts.Check(err)
	for _, o := range objects {
		if o.GetNamespace() == "" {
			o.SetNamespace(s.known["NS"])
		}
	}
	return objects
}
