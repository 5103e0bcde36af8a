package world

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/api/argocd"
	"plumb.dev/plumb/internal/cluster"
)

// Bounds of logs.
const (
	maxLine  = 64 << 10
	maxLines = 100000
)

// Logs reads the log of a Pod, as the Application may. What is before the
// requested time is skipped here.
func (w *world) Logs(ctx context.Context, app *unstructured.Unstructured, namespace, pod string, opts argocd.LogOptions, each func(argocd.LogLine) error) error {
	_, session, _, err := w.session(ctx, app, argocd.Ref{Version: "v1", Kind: "Pod"})
	if err != nil {
		return err
	}
	since := opts.SinceTime
	if opts.SinceSeconds > 0 {
		since = time.Now().Add(-time.Duration(opts.SinceSeconds) * time.Second)
	}
	container := opts.Container
	if container == "" {
		if container, err = w.firstContainer(ctx, app, namespace, pod); err != nil {
			return err
		}
	}
	log, err := session.Logs(ctx, namespace, pod, cluster.LogOptions{
		Container: container, Previous: opts.Previous, Follow: opts.Follow, TailLines: int(min(opts.TailLines, maxLines)),
	})
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	read := bufio.NewReaderSize(log, maxLine)
	for {
		text, err := read.ReadSlice('\n')
		if line := lineOf(string(text)); len(text) > 0 && !line.At.Before(since) {
			if err := each(line); err != nil {
				return err
			}
		}
		for errors.Is(err, bufio.ErrBufferFull) { // the rest of a line that is too long
			_, err = read.ReadSlice('\n')
		}
		switch {
		case errors.Is(err, io.EOF), ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
	}
}

// firstContainer is the one whose log is meant where nobody says.
func (w *world) firstContainer(ctx context.Context, app *unstructured.Unstructured, namespace, pod string) (string, error) {
	o, err := w.raw(ctx, app, argocd.Ref{Version: "v1", Kind: "Pod", Namespace: namespace, Name: pod})
	if err != nil {
		return "", err
	}
	if name := o.GetAnnotations()["kubectl.kubernetes.io/default-container"]; name != "" {
		return name, nil
	}
	containers, _, _ := unstructured.NestedSlice(o.Object, "spec", "containers")
	if len(containers) == 0 {
		return "", nil
	}
	first, _ := containers[0].(map[string]any)
	name, _ := first["name"].(string)
	return name, nil
}

// lineOf takes the time off a line.
func lineOf(text string) argocd.LogLine {
	text = strings.TrimRight(text, "\r\n")
	stamp, rest, _ := strings.Cut(text, " ")
	at, err := time.Parse(time.RFC3339Nano, stamp)
	if err != nil {
		return argocd.LogLine{Text: text}
	}
	return argocd.LogLine{At: at, Text: rest}
}
