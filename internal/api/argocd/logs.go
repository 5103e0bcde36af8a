package argocd

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/policy"
)

// maxLogPods is how many Pods are read for one call where argocd-cm says nothing
// (server.maxPodLogsToRender).
const maxLogPods = 10

// logEntry is a line of a Pod.
type logEntry struct {
	pod string
	LogLine
}

// podLogs sends the lines of the Pods that a query means: by name, or below an
// object of the tree. Lines of several Pods come in the order in which they
// arrive. The last message says so.
func (s *server) podLogs(ctx context.Context, c *call, send func(map[string]any) error) error {
	opts, until, err := s.logOptions(c)
	if err != nil {
		return err
	}
	app, err := s.withLogs(ctx, c)
	if err != nil {
		return err
	}
	tree, err := s.Deliveries.Tree(ctx, app)
	if err != nil {
		return err
	}
	pods := selectPods(objects(tree, "nodes"), logTarget(c))
	if len(pods) == 0 {
		return nil
	}
	most := maxLogPods
	if n, err := strconv.Atoi(s.setting(ctx, "server.maxPodLogsToRender")); err == nil && n > 0 {
		most = n
	}
	if len(pods) > most {
		return failed(connect.CodeInvalidArgument, "max pods to view logs are reached. Please provide more granular query")
	}

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	lines := make(chan logEntry)
	var readers sync.WaitGroup
	for _, pod := range pods {
		readers.Go(func() {
			name := text(pod, "name")
			give := func(line LogLine) error {
				select {
				case lines <- logEntry{name, line}:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			err := s.Deliveries.Logs(ctx, app, text(pod, "namespace"), name, opts, give)
			if err != nil && !errors.Is(err, context.Canceled) { // why there is no log is worth reading
				_ = give(LogLine{At: s.Now(), Text: err.Error()})
			}
		})
	}
	go func() { readers.Wait(); close(lines) }()

	wanted := logFilter(c)
	for line := range lines {
		if !wanted(line.Text) {
			continue
		}
		last := !until.IsZero() && line.At.After(until)
		if err := send(logMessage(line, last)); err != nil {
			return err
		}
		if last {
			return nil
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return send(logMessage(logEntry{LogLine: LogLine{At: s.Now()}}, true))
}

// withLogs is an Application whose logs the caller may read.
func (s *server) withLogs(ctx context.Context, c *call) (*unstructured.Unstructured, error) {
	app, _, err := s.application(ctx, c, policy.Get, "")
	if err != nil {
		return nil, err
	}
	return app, s.must(ctx, c, policy.Logs, policy.Get, s.objectOf(app))
}

func (s *server) mayReadLogs(ctx context.Context, c *call) error {
	_, err := s.withLogs(ctx, c)
	return err
}

func logMessage(e logEntry, last bool) map[string]any {
	at := e.At.UTC()
	return map[string]any{
		"content": e.Text, "podName": e.pod, "last": last,
		"timeStamp": at.Format(time.RFC3339Nano), "timeStampStr": at.Format(time.RFC3339Nano),
	}
}

func (s *server) logOptions(c *call) (opts LogOptions, until time.Time, err error) {
	opts = LogOptions{
		Container: text(c.value, "container"), Follow: flag(c.value, "follow"), Previous: flag(c.value, "previous"),
		SinceSeconds: max(number(c.value, "sinceSeconds"), 0), TailLines: max(number(c.value, "tailLines"), 0),
	}
	if since := text(c.value, "sinceTime"); since != "" {
		if opts.SinceTime, err = time.Parse(time.RFC3339, since); err != nil {
			return opts, until, failed(connect.CodeInvalidArgument, "invalid sinceTime parameter value: %v", err)
		}
	}
	if end := text(c.value, "untilTime"); end != "" {
		if until, err = time.Parse(time.RFC3339Nano, end); err != nil {
			return opts, until, failed(connect.CodeInvalidArgument, "invalid untilTime parameter value: %v", err)
		}
	}
	return opts, until, nil
}

// logFilter is what a line must contain, or with "!" must not.
func logFilter(c *call) func(string) bool {
	literal := text(c.value, "filter")
	if literal == "" {
		return func(string) bool { return true }
	}
	literal, inverse := strings.CutPrefix(literal, "!")
	fold := func(s string) string { return s }
	if !flag(c.value, "matchCase") {
		fold = strings.ToLower
	}
	return func(line string) bool { return strings.Contains(fold(line), fold(literal)) != inverse }
}

// logTarget is what the Pods are to be, or to be below of. Empty is any.
func logTarget(c *call) Ref {
	ref := Ref{Group: text(c.value, "group"), Kind: text(c.value, "kind"), Namespace: text(c.value, "namespace"), Name: text(c.value, "resourceName")}
	if pod := text(c.value, "podName"); pod != "" {
		ref.Kind, ref.Name = "Pod", pod
	}
	return ref
}

// selectPods are the Pods of a tree that are meant, or that stand below an object
// that is.
func selectPods(nodes []map[string]any, target Ref) []map[string]any {
	above := map[Ref]map[string]any{}
	for _, n := range nodes {
		above[nodeRef(n)] = n
	}
	meant := map[Ref]bool{}
	var means func(n map[string]any) bool
	means = func(n map[string]any) bool {
		ref := nodeRef(n)
		if known, ok := meant[ref]; ok {
			return known
		}
		meant[ref] = (target.Name == "" || ref.Name == target.Name) && (target.Kind == "" || ref.Kind == target.Kind) &&
			(target.Group == "" || ref.Group == target.Group) && (target.Namespace == "" || ref.Namespace == target.Namespace)
		if meant[ref] {
			return true
		}
		for _, parent := range objects(n, "parentRefs") {
			if p := above[nodeRef(parent)]; p != nil && means(p) {
				meant[ref] = true
				return true
			}
		}
		return false
	}
	var pods []map[string]any
	for _, n := range nodes {
		if text(n, "kind") == "Pod" && text(n, "group") == "" && text(n, "uid") != "" && means(n) {
			pods = append(pods, n)
		}
	}
	return pods
}

func nodeRef(n map[string]any) Ref {
	return Ref{Group: text(n, "group"), Kind: text(n, "kind"), Namespace: text(n, "namespace"), Name: text(n, "name")}
}
