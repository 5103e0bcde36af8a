package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/cluster"
)

// podOf is a Pod with an init container, two containers, and their states.
func podOf(t *testing.T, name, status string) *unstructured.Unstructured {
	t.Helper()
	text := fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {namespace: team, name: %s, uid: uid-%s}
spec:
  nodeName: node-1
  initContainers: [{name: load, image: 'load:1'}]
  containers: [{name: app, image: 'app:1'}, {name: proxy, image: 'proxy:1'}]
status: %s
`, name, name, status)
	encoded, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	o := &unstructured.Unstructured{}
	if err := o.UnmarshalJSON(encoded); err != nil {
		t.Fatal(err)
	}
	return o
}

const podRuns = `{phase: Running, containerStatuses: [{name: app, state: {running: {}}}, {name: proxy, restartCount: 2, state: {running: {}}, lastState: {terminated: {exitCode: 1}}}], initContainerStatuses: [{name: load, state: {terminated: {exitCode: 0}}}]}`

// kubelet answers for logs.
type kubelet struct {
	pods   []*unstructured.Unstructured
	refuse error
	mu     sync.Mutex
	asked  []string
	tails  map[string]io.ReadCloser // by Pod and container; others have one line
}

func (k *kubelet) reading(m *plumbv1.StreamLogsRequest) *logReading {
	return &logReading{
		of:  &unstructured.Unstructured{Object: map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"namespace": "team", "name": "web"}}},
		ask: m, lines: make(chan *plumbv1.LogLine, logBatch), ended: make(chan logEnd, maxLogReaders), moved: make(chan struct{}, 1), started: map[logKey]bool{}, broken: map[logKey]time.Time{}, told: map[string]bool{},
		list: func(context.Context) ([]*unstructured.Unstructured, error) { return k.pods, nil },
		open: func(_ context.Context, pod string, opts cluster.LogOptions) (io.ReadCloser, error) {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.asked = append(k.asked, fmt.Sprintf("%s/%s tail %d since %d previous %v follow %v", pod, opts.Container, opts.TailLines, opts.Since, opts.Previous, opts.Follow))
			if k.refuse != nil {
				return nil, k.refuse
			}
			if tail := k.tails[pod+"/"+opts.Container]; tail != nil {
				return tail, nil
			}
			return io.NopCloser(strings.NewReader("2026-01-01T00:00:00Z hello from " + pod + "/" + opts.Container + "\n")), nil
		},
		simulated: func(context.Context, string) bool { return true },
	}
}

// read is all that a reading sends.
func (k *kubelet) read(ctx context.Context, m *plumbv1.StreamLogsRequest) (lines, troubles []string, omitted int32, err error) {
	err = k.reading(m).run(ctx, func(message *plumbv1.StreamLogsResponse) error {
		for _, line := range message.GetLines() {
			lines = append(lines, line.GetText())
		}
		for _, trouble := range message.GetTroubles() {
			troubles = append(troubles, trouble.GetReason()+": "+trouble.GetMessage())
		}
		omitted = max(omitted, message.GetOmitted())
		return nil
	})
	slices.Sort(lines)
	slices.Sort(troubles)
	return lines, troubles, omitted, err
}

func TestLogsOfAWorkload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		both := []*unstructured.Unstructured{podOf(t, "a", podRuns), podOf(t, "b", podRuns)}
		for _, c := range []struct {
			what            string
			pods            []*unstructured.Unstructured
			ask             *plumbv1.StreamLogsRequest
			lines, troubles string
		}{
			{"the default container of each Pod", both, &plumbv1.StreamLogsRequest{}, "hello from a/app, hello from b/app", ""},
			{"one container", both, &plumbv1.StreamLogsRequest{Container: "load"}, "hello from a/load, hello from b/load", ""},
			{"one Pod", both, &plumbv1.StreamLogsRequest{Pods: []string{"b", "gone"}}, "hello from b/app", ""},
			{"all containers of one Pod", both, &plumbv1.StreamLogsRequest{Pods: []string{"b"}, AllContainers: true}, "hello from b/app, hello from b/load, hello from b/proxy", ""},
			{"the instance before", both[:1], &plumbv1.StreamLogsRequest{Previous: true, AllContainers: true}, "hello from a/proxy",
				"NoPrevious: container app of Pod a has not ended before: there is no earlier log, NoPrevious: container load of Pod a has not ended before: there is no earlier log"},
			{"one that has not started", []*unstructured.Unstructured{both[0], podOf(t, "c", "{phase: Pending, containerStatuses: [{name: app, state: {waiting: {reason: ImagePullBackOff}}}]}")}, &plumbv1.StreamLogsRequest{},
				"hello from a/app", "NotStarted: container app of Pod c has no log yet: ImagePullBackOff"},
			{"one that crashes again and again", []*unstructured.Unstructured{podOf(t, "c", "{phase: Running, containerStatuses: [{name: app, restartCount: 3, state: {waiting: {reason: CrashLoopBackOff}}, lastState: {terminated: {exitCode: 1}}}]}")}, &plumbv1.StreamLogsRequest{},
				"hello from c/app", ""},
		} {
			k := &kubelet{pods: c.pods}
			lines, troubles, _, err := k.read(t.Context(), c.ask)
			if got := strings.Join(lines, ", "); err != nil || got != c.lines {
				t.Errorf("%s: %q, %v; want %q", c.what, got, err, c.lines)
			}
			if got := strings.Join(troubles, ", "); got != c.troubles {
				t.Errorf("%s: troubles are %q, want %q", c.what, got, c.troubles)
			}
		}
	})
}

func TestLogsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &kubelet{}
		for i := range maxLogPods + 5 {
			k.pods = append(k.pods, podOf(t, fmt.Sprintf("p%02d", i), podRuns))
		}
		lines, _, omitted, err := k.read(t.Context(), &plumbv1.StreamLogsRequest{TailLines: 1 << 30, SinceSeconds: 60})
		if err != nil || len(lines) != maxLogPods || omitted != 5 {
			t.Errorf("%d lines, %d omitted, %v", len(lines), omitted, err)
		}
		if want := fmt.Sprintf("p00/app tail %d since 60 previous false follow false", maxLogLines); !slices.Contains(k.asked, want) {
			t.Errorf("asked for %v", k.asked)
		}
		long := strings.Repeat("x", 3*maxLogLine)
		k = &kubelet{pods: k.pods[:1], tails: map[string]io.ReadCloser{"p00/app": io.NopCloser(strings.NewReader(long + "\nshort\n"))}}
		lines, _, _, err = k.read(t.Context(), &plumbv1.StreamLogsRequest{})
		if err != nil || len(lines) != 2 || len(lines[1]) > maxLogLine || lines[0] != "short" {
			t.Errorf("%d lines, %v", len(lines), err)
		}
	})
}

// TestLogsThatCannotBeRead: one message says why and what to do, and nothing of
// what the kubelet, or the way to it, has said.
func TestLogsThatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		raw := apierrors.NewInternalError(errors.New(`Get "https://127.0.0.1:10250/containerLogs/team/a/app": dial tcp 127.0.0.1:10250: connect: connection refused`))
		k := &kubelet{pods: []*unstructured.Unstructured{podOf(t, "a", podRuns)}, refuse: raw}
		for _, follow := range []bool{false, true} {
			_, troubles, _, err := k.read(t.Context(), &plumbv1.StreamLogsRequest{Follow: follow})
			if err == nil || !strings.Contains(err.Error(), "simulated node node-1, which runs no programs: it has no log: to see logs, deliver to a cluster with real nodes") {
				t.Errorf("follow %v: %v", follow, err)
			}
			if len(troubles) != 1 || strings.Contains(troubles[0]+err.Error(), "10250") {
				t.Errorf("follow %v: troubles are %v, the error is %v", follow, troubles, err)
			}
		}
		k = &kubelet{}
		if _, _, _, err := k.read(t.Context(), &plumbv1.StreamLogsRequest{}); err == nil || !strings.Contains(err.Error(), " has no Pods: it is scaled to nothing") {
			t.Errorf("without Pods: %v", err)
		}
		k = &kubelet{pods: []*unstructured.Unstructured{podOf(t, "a", podRuns)}}
		if _, _, _, err := k.read(t.Context(), &plumbv1.StreamLogsRequest{Container: "nothing"}); err == nil || !strings.Contains(err.Error(), "has no container nothing: it has load, app, proxy") {
			t.Errorf("without such a container: %v", err)
		}
	})
}

func TestLogTrouble(t *testing.T) {
	status := func(code int32, message string) error {
		return &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: code, Message: message}}
	}
	for _, c := range []struct {
		err       error
		node      string
		simulated bool
		want      string
	}{
		{status(http.StatusForbidden, "no"), "n", true, "Forbidden"},
		{status(http.StatusNotFound, "no"), "n", true, "Gone"},
		{status(http.StatusBadRequest, `previous terminated container "app" in pod "web" not found`), "n", false, "NoPrevious"},
		{status(http.StatusBadRequest, `container "app" in pod "web" is waiting to start: ContainerCreating`), "n", false, "NotStarted"},
		{status(http.StatusInternalServerError, "dial tcp"), "n", true, "SimulatedNode"},
		{status(http.StatusInternalServerError, "dial tcp"), "n", false, "NodeUnreachable"},
		{status(http.StatusInternalServerError, "no host"), "", false, "NotScheduled"},
		{errors.New("dial tcp 10.0.0.1:6443"), "n", false, "Unreachable"},
	} {
		fault := logTrouble(c.err, "container app of Pod web", c.node, func() bool { return c.simulated })
		if fault.GetReason() != c.want || fault.GetAdvice() == "" || strings.Contains(fault.GetMessage(), "dial tcp") {
			t.Errorf("%v: %v", c.err, fault)
		}
	}
}

// TestFollowedLogsGoOn: Pods that come later are read too, and containers that
// have begun again.
func TestFollowedLogsGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, feed := io.Pipe()
		k := &kubelet{pods: []*unstructured.Unstructured{podOf(t, "a", podRuns)}, tails: map[string]io.ReadCloser{"a/app": first}}
		r := k.reading(&plumbv1.StreamLogsRequest{Follow: true})
		var lines []string
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- r.run(ctx, func(message *plumbv1.StreamLogsResponse) error {
				for _, line := range message.GetLines() {
					lines = append(lines, line.GetText())
				}
				return nil
			})
		}()
		expect := func(what, want string) {
			t.Helper()
			time.Sleep(2 * logLook)
			synctest.Wait()
			slices.Sort(lines)
			if got := strings.Join(lines, ", "); got != want {
				t.Errorf("%s: %q, want %q", what, got, want)
			}
			lines = nil
		}
		if _, err := feed.Write([]byte("one\n")); err != nil {
			t.Fatal(err)
		}
		expect("a line", "one")
		k.pods = append(k.pods, podOf(t, "b", podRuns))
		r.moved <- struct{}{}
		expect("a Pod comes", "hello from b/app")
		delete(k.tails, "a/app")
		k.pods[0] = podOf(t, "a", strings.Replace(podRuns, "{name: app, ", "{name: app, restartCount: 1, ", 1))
		if err := feed.Close(); err != nil {
			t.Fatal(err)
		}
		r.moved <- struct{}{}
		expect("a container begins again", "hello from a/app")
		expect("nothing else", "")
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestBrokenLogsGoOn: a connection that breaks ends nothing, and nothing is told
// twice; a container that has ended is left.
func TestBrokenLogsGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pod := podOf(t, "a", podRuns)
		log := []string{"2026-01-01T00:00:00.5Z one", "2026-01-01T00:00:01.25Z two"}
		opened := 0
		k := &kubelet{}
		r := k.reading(&plumbv1.StreamLogsRequest{Follow: true, SinceSeconds: 60})
		r.list = func(context.Context) ([]*unstructured.Unstructured, error) {
			k.mu.Lock()
			defer k.mu.Unlock()
			return []*unstructured.Unstructured{pod}, nil
		}
		r.open = func(_ context.Context, _ string, opts cluster.LogOptions) (io.ReadCloser, error) {
			k.mu.Lock()
			defer k.mu.Unlock()
			opened++
			switch {
			case opened == 2:
				return nil, errors.New("dial tcp")
			case opened == 3 && (!opts.From.Equal(time.Date(2026, 1, 1, 0, 0, 1, 250e6, time.UTC)) || opts.Since != 0):
				t.Errorf("asked for %+v", opts)
			}
			return io.NopCloser(strings.NewReader(strings.Join(log, "\n") + "\n")), nil // and breaks
		}
		change := func(do func()) {
			k.mu.Lock()
			defer k.mu.Unlock()
			do()
		}
		var lines []string
		ctx, stop := context.WithCancel(t.Context())
		over := make(chan error, 1)
		go func() {
			over <- r.run(ctx, func(message *plumbv1.StreamLogsResponse) error {
				for _, line := range message.GetLines() {
					lines = append(lines, line.GetText())
				}
				return nil
			})
		}()
		time.Sleep(3 * logLook)
		change(func() { log = append(log, "2026-01-01T00:00:01.75Z three") })
		time.Sleep(2 * logLook)
		before := 0
		change(func() {
			pod = podOf(t, "a", strings.Replace(podRuns, "{name: app, state: {running: {}}}", "{name: app, state: {terminated: {exitCode: 0}}}", 1))
		})
		time.Sleep(2 * logLook)
		change(func() { before = opened })
		time.Sleep(10 * logLook)
		change(func() {
			if opened != before || before < 4 {
				t.Errorf("the log of a container that has ended was opened %d times more, of %d", opened-before, opened)
			}
		})
		stop()
		if err := <-over; err != nil {
			t.Error(err)
		}
		if got := strings.Join(lines, ", "); got != "one, two, three" {
			t.Errorf("read %s", got)
		}
	})
}
