package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/api/rows"
	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/object"
)

// Bounds of logs.
const (
	logLines    = 500
	maxLogLines = 10000
	maxLogPods  = 10
	maxLogLine  = 16 << 10
	logBatch    = 200
	logPause    = 100 * time.Millisecond
)

// StreamLogs sends the lines of the Pods of one object, as the delivery may
// read them.
func (s deliveryService) StreamLogs(ctx context.Context, m *plumbv1.StreamLogsRequest, out *connect.ServerStream[plumbv1.StreamLogsResponse]) error {
	w, err := s.leads()
	if err != nil {
		return err
	}
	delivery := rows.ID(m.GetRef())
	f, err := s.find(ctx, w, delivery, m.GetObject())
	if err != nil {
		return err
	}
	if f.live == nil {
		return connect.NewError(connect.CodeNotFound, fmt.Errorf("%s is not there", f.id))
	}
	session, err := w.Engine.Session(delivery)
	if err != nil {
		return engineError(err)
	}
	pods, err := podsOf(ctx, session, f.live)
	if err != nil {
		return err
	}
	if len(pods) == 0 {
		return connect.NewError(connect.CodeNotFound, fmt.Errorf("%s has no Pods", f.id))
	}
	lines := make(chan *plumbv1.LogLine, logBatch)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var readers sync.WaitGroup
	failed := make([]error, len(pods))
	for i, pod := range pods {
		readers.Go(func() { failed[i] = readLog(ctx, session, pod, m, lines) })
	}
	go func() { readers.Wait(); close(lines) }()
	if err := sendLines(ctx, lines, out); err != nil {
		return err
	}
	if err := errors.Join(failed...); err != nil && ctx.Err() == nil {
		return connect.NewError(connect.CodeUnavailable, err)
	}
	return nil
}

// podsOf lists the Pods of an object: itself, or those below it.
func podsOf(ctx context.Context, session *cluster.Session, o *unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	if o.GetKind() == "Pod" && o.GroupVersionKind().Group == "" {
		return []*unstructured.Unstructured{o}, nil
	}
	above := map[types.UID]bool{o.GetUID(): true}
	var pods []*unstructured.Unstructured
	for _, gvk := range []schema.GroupVersionKind{
		{Group: "batch", Version: "v1", Kind: "Job"}, {Group: "apps", Version: "v1", Kind: "ReplicaSet"}, {Version: "v1", Kind: "Pod"},
	} {
		kind, err := session.Cluster().Resolve(ctx, gvk)
		if err != nil {
			return nil, connect.NewError(connect.CodeUnavailable, err)
		}
		_, err = session.List(ctx, kind, cluster.ListOptions{Namespace: o.GetNamespace()}, func(child *unstructured.Unstructured) error {
			owner := metav1.GetControllerOf(child)
			if owner == nil || !above[owner.UID] {
				return nil
			}
			above[child.GetUID()] = true
			if gvk.Kind == "Pod" {
				pods = append(pods, child)
			}
			return nil
		})
		if err != nil {
			return nil, answered(err)
		}
	}
	slices.SortFunc(pods, func(a, b *unstructured.Unstructured) int {
		return b.GetCreationTimestamp().Compare(a.GetCreationTimestamp().Time)
	})
	return pods[:min(len(pods), maxLogPods)], nil
}

// readLog hands over the lines of one Pod.
func readLog(ctx context.Context, session *cluster.Session, pod *unstructured.Unstructured, m *plumbv1.StreamLogsRequest, lines chan<- *plumbv1.LogLine) error {
	container := m.GetContainer()
	if all := containersOf(pod); container == "" && len(all) > 0 {
		container = all[0]
	}
	tail := int(m.GetTailLines())
	if tail <= 0 {
		tail = logLines
	}
	log, err := session.Logs(ctx, pod.GetNamespace(), pod.GetName(), cluster.LogOptions{
		Container: container, Previous: m.GetPrevious(), Follow: m.GetFollow(), TailLines: min(tail, maxLogLines),
	})
	if err != nil {
		return fmt.Errorf("the log of %s cannot be read: %w", object.Of(pod), err)
	}
	defer func() { _ = log.Close() }()
	read := bufio.NewReaderSize(log, maxLogLine)
	for {
		text, err := read.ReadSlice('\n')
		if len(text) > 0 {
			select {
			case lines <- logLine(pod.GetName(), container, string(text)):
			case <-ctx.Done():
				return nil
			}
		}
		for errors.Is(err, bufio.ErrBufferFull) { // the rest of a line that is too long
			_, err = read.ReadSlice('\n')
		}
		if errors.Is(err, io.EOF) || ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// logLine takes the time off a line.
func logLine(pod, container, text string) *plumbv1.LogLine {
	text = strings.ToValidUTF8(strings.TrimRight(text, "\r\n"), "�")
	line := &plumbv1.LogLine{Pod: pod, Container: container, Text: text}
	if stamp, rest, found := strings.Cut(text, " "); found {
		if t, err := time.Parse(time.RFC3339Nano, stamp); err == nil {
			line.Time, line.Text = rows.At(t), rest
		}
	}
	return line
}

// sendLines sends what comes, gathered for a moment.
func sendLines(ctx context.Context, lines <-chan *plumbv1.LogLine, out *connect.ServerStream[plumbv1.StreamLogsResponse]) error {
	tick := time.NewTicker(logPause)
	defer tick.Stop()
	batch := &plumbv1.StreamLogsResponse{}
	flush := func() error {
		if len(batch.Lines) == 0 {
			return nil
		}
		err := out.Send(batch)
		batch = &plumbv1.StreamLogsResponse{}
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case line, ok := <-lines:
			if !ok {
				return flush()
			}
			batch.Lines = append(batch.Lines, line)
			if len(batch.Lines) < logBatch {
				continue
			}
		case <-tick.C:
		}
		if err := flush(); err != nil {
			return err
		}
	}
}
