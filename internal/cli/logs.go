package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"plumb.dev/plumb/internal/api/client"
	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/api/pods"
	"plumb.dev/plumb/internal/object"
)

// wantedLogs says which lines are shown.
type wantedLogs struct {
	kind            *declaredKind
	namespace, name string // of the delivery
	object          string // KIND/NAME of one of its workloads; "": all of them

	container string // "": the one that kubectl takes
	previous  bool
	follow    bool
	tail      int
	since     time.Duration
	bare      bool // lines without where they are from
}

// logLine is one line of the log of a container.
type logLine struct{ pod, container, text string }

// Bounds of logs: how many Pods of a delivery are read at a time, and how long a
// line may be, in bytes; the rest of a longer one is left out.
const (
	logPods    = 50
	maxLogLine = 64 << 10
	logTail    = 100
)

func (a *app) logsCommand() *cobra.Command {
	logs := &cobra.Command{
		Use:   "logs",
		Short: "Print the logs of what a delivery runs",
		Long: `Print the logs of the Pods that a delivery runs, each line with the Pod and the
container that it is from. With --object only those of one workload or Pod.`,
		Example: `  plumb logs kustomization apps

  # Of one workload, as it goes on
  plumb logs ks apps --object deployment/podinfo --follow

  # What a container said before it crashed
  plumb logs application guestbook --object deploy/guestbook-ui --previous`,
	}
	addKindCommands(logs, false, runsPods, func(kind *declaredKind) *cobra.Command {
		wanted := wantedLogs{kind: kind}
		command := &cobra.Command{
			Use:               "NAME",
			Short:             "Print the logs of what " + article(kind.group.Kind) + " runs",
			Args:              exactlyOneName(kind),
			ValidArgsFunction: a.completeNames(kind),
			RunE: func(cmd *cobra.Command, args []string) error {
				wanted.name, wanted.namespace = args[0], a.namespaceOf(kind)
				return a.logs(cmd.Context(), wanted)
			},
		}
		set := command.Flags()
		set.StringVar(&wanted.object, "object", "", "only of this workload or Pod of the delivery, as `KIND/NAME`")
		set.StringVarP(&wanted.container, "container", "c", "", "this container instead of the first")
		set.BoolVarP(&wanted.previous, "previous", "p", false, "of the instance before, as after a crash")
		set.BoolVarP(&wanted.follow, "follow", "f", false, "go on printing lines until interrupted")
		set.IntVar(&wanted.tail, "tail", logTail, "how many of the last lines of each container")
		set.DurationVar(&wanted.since, "since", 0, "only lines that are not older, such as 5m")
		set.BoolVar(&wanted.bare, "no-prefix", false, "print the lines alone")
		return command
	})
	return logs
}

// runsPods are the deliveries that bring objects to a cluster by themselves.
func runsPods(kind *declaredKind) bool {
	return kind == kustomizations || kind == helmReleases || kind == applications
}

func (a *app) logs(ctx context.Context, wanted wantedLogs) error {
	if wanted.tail < 1 {
		return errors.New("--tail must be at least 1")
	}
	p, err := a.place()
	if err != nil {
		return err
	}
	whole := ctx
	if !wanted.follow {
		var cancel context.CancelFunc
		ctx, cancel = a.within(ctx)
		defer cancel()
	}
	printed := false
	var mu sync.Mutex
	err = p.logs(ctx, wanted, func(line logLine) error {
		mu.Lock()
		defer mu.Unlock()
		printed = true
		text := printable(line.text)
		if !wanted.bare {
			text = fmt.Sprintf("[pod/%s/%s] %s", oneLine(line.pod), oneLine(line.container), text)
		}
		return a.out("%s\n", text)
	})
	if wanted.follow {
		err = interrupted(whole, err)
	}
	if err == nil && !printed {
		a.say.plain("no lines")
	}
	return err
}

// workload reports whether the Pods of an object can be asked for lines.
func workload(id object.ID) bool { return makers[id.GroupKind()] }

// chosenWorkloads are the objects of a delivery whose Pods are read.
func chosenWorkloads(wanted wantedLogs, claims []object.ID) ([]object.ID, error) {
	kind, name, one := strings.Cut(wanted.object, "/")
	if wanted.object != "" && (!one || kind == "" || name == "") {
		return nil, advise(fmt.Errorf("--object %q names no object", wanted.object), "as in: --object deployment/podinfo")
	}
	var chosen []object.ID
	for _, id := range claims {
		if workload(id) && (!one || id.Name == name && isCalled(kind, &plumbv1.ObjectRef{Group: id.Group, Kind: id.Kind})) {
			chosen = append(chosen, id)
		}
	}
	if len(chosen) == 0 && !one {
		return nil, advise(fmt.Errorf("%s %s has no workloads", wanted.kind.human, wanted.name), "see what it has with: plumb tree %s %s -n %s", wanted.kind.singular, wanted.name, wanted.namespace)
	}
	if made, isMade := madeKinds[strings.ToLower(kind)]; len(chosen) == 0 && isMade {
		// What the cluster made is in no inventory; it is where the workloads are.
		for _, id := range claims {
			if workload(id) {
				return []object.ID{{Group: made.Group, Kind: made.Kind, Namespace: id.Namespace, Name: name}}, nil
			}
		}
	}
	if len(chosen) == 0 {
		return nil, advise(fmt.Errorf("%s %s has no workload %s", wanted.kind.human, wanted.name, wanted.object), "see what it has with: plumb tree %s %s -n %s", wanted.kind.singular, wanted.name, wanted.namespace)
	}
	return chosen, nil
}

// logs asks the server for the lines of every workload.
func (s *atServer) logs(ctx context.Context, wanted wantedLogs, show func(logLine) error) error {
	o, err := s.get(ctx, wanted.kind, wanted.namespace, wanted.name)
	if err != nil {
		return err
	}
	claims, err := wanted.kind.idiom.inventory(o)
	if err != nil {
		return err
	}
	chosen, err := chosenWorkloads(wanted, claims)
	if err != nil {
		return err
	}
	group, reading := errgroup.WithContext(ctx)
	group.SetLimit(logStreams)
	for i, id := range chosen {
		if i == logStreams && wanted.follow {
			s.app.say.warning("only the first %d of %d workloads are followed: choose one with --object", logStreams, len(chosen))
			break
		}
		group.Go(func() error {
			err := s.streamLogs(reading, wanted, id, show)
			if len(chosen) > 1 && client.CodeOf(err) == client.NotFound {
				return nil // it has no Pods now
			}
			return err
		})
	}
	return group.Wait()
}

// logStreams bounds the workloads that are read at a time; the server has a
// bound of its own for each caller.
const logStreams = 16

func (s *atServer) streamLogs(ctx context.Context, wanted wantedLogs, id object.ID, show func(logLine) error) error {
	stream, err := s.client.Deliveries.StreamLogs(ctx, &plumbv1.StreamLogsRequest{
		Ref:       refTo(wanted.kind, wanted.namespace, wanted.name),
		Object:    &plumbv1.ObjectRef{Group: id.Group, Version: "v1", Kind: id.Kind, Namespace: id.Namespace, Name: id.Name},
		Container: wanted.container, Previous: wanted.previous, Follow: wanted.follow, TailLines: int32(min(wanted.tail, 1<<20)),
		SinceSeconds: int32(min(wanted.since/time.Second, 1<<30)),
	})
	if err != nil {
		return s.told(err)
	}
	defer func() { _ = stream.Close() }()
	for stream.Receive() {
		for _, trouble := range stream.Msg().GetTroubles() {
			s.app.say.warning("%s", oneLine(trouble.GetMessage()))
		}
		for _, line := range stream.Msg().GetLines() {
			if err := show(logLine{line.GetPod(), line.GetContainer(), line.GetText()}); err != nil {
				return err
			}
		}
	}
	return s.told(stream.Err())
}

// logs reads the Pods with the rights of the kubeconfig.
func (p onSite) logs(ctx context.Context, wanted wantedLogs, show func(logLine) error) error {
	o, err := p.get(ctx, wanted.kind, wanted.namespace, wanted.name)
	if err != nil {
		return err
	}
	if wanted.kind.idiom.remote(o) {
		return advise(fmt.Errorf("%s %s goes to another cluster", wanted.kind.human, wanted.name), "read its logs there with kubectl, or through a server of Plumb: plumb login")
	}
	claims, err := wanted.kind.idiom.inventory(o)
	if err != nil {
		return err
	}
	chosen, err := chosenWorkloads(wanted, claims)
	if err != nil {
		return err
	}
	var all []*unstructured.Unstructured
	for _, id := range chosen {
		found, err := p.podsOf(ctx, id)
		if err != nil {
			return err
		}
		all = append(all, found...)
	}
	if len(all) == 0 {
		return fmt.Errorf("%s %s runs no Pods now", wanted.kind.human, wanted.name)
	}
	if len(all) > logPods {
		p.app.say.warning("only %d of %d Pods are read: choose a workload with --object", logPods, len(all))
		all = all[:logPods]
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, pod := range all {
		group.Go(func() error { return p.readLog(ctx, pod, wanted, show) })
	}
	return group.Wait()
}

// podsOf lists the Pods of a workload: itself, or those that it has made.
func (p onSite) podsOf(ctx context.Context, id object.ID) ([]*unstructured.Unstructured, error) {
	mapping, err := p.mapper.RESTMapping(id.GroupKind())
	if err != nil {
		return nil, err
	}
	live, err := p.live(ctx, target{mapping: mapping, namespace: id.Namespace, name: id.Name})
	if apierrors.IsNotFound(err) || meta.IsNoMatchError(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if id.GroupKind() == (schema.GroupKind{Kind: "Pod"}) {
		return []*unstructured.Unstructured{live}, nil
	}
	below, err := p.below(ctx, id.Namespace) // Pods come behind what makes them
	if err != nil {
		return nil, err
	}
	mine := map[types.UID]bool{live.GetUID(): true}
	var found []*unstructured.Unstructured
	for _, child := range below {
		owner := controllerOf(child)
		if owner == nil || !mine[owner.UID] {
			continue
		}
		mine[child.GetUID()] = true
		if child.GetKind() == "Pod" {
			found = append(found, child)
		}
	}
	return found, nil
}

// makers are the kinds whose health shows in what they make.
var makers = map[schema.GroupKind]bool{
	{Group: "apps", Kind: "Deployment"}:  true,
	{Group: "apps", Kind: "ReplicaSet"}:  true,
	{Group: "apps", Kind: "StatefulSet"}: true,
	{Group: "apps", Kind: "DaemonSet"}:   true,
	{Group: "batch", Kind: "Job"}:        true,
	{Group: "batch", Kind: "CronJob"}:    true,
	{Kind: "Pod"}:                        true,
}

// below lists what the workloads of a namespace have made. What lies between them
// and their Pods is left out where it may not be read.
func (c *cluster) below(ctx context.Context, namespace string) ([]*unstructured.Unstructured, error) {
	var found []*unstructured.Unstructured
	for _, resource := range []schema.GroupVersionResource{
		{Group: "apps", Version: "v1", Resource: "replicasets"},
		{Group: "batch", Version: "v1", Resource: "jobs"},
		{Version: "v1", Resource: "pods"},
	} {
		list, err := listPages(ctx, c.objects.Resource(resource).Namespace(namespace), metav1.ListOptions{})
		if resource.Resource != "pods" && (apierrors.IsForbidden(err) || apierrors.IsNotFound(err)) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for i := range list.Items {
			found = append(found, &list.Items[i])
		}
	}
	return found, nil
}

// readLog hands over the lines of one container.
func (p onSite) readLog(ctx context.Context, pod *unstructured.Unstructured, wanted wantedLogs, show func(logLine) error) error {
	container := wanted.container
	if container == "" {
		container = firstContainer(pod)
	}
	query := url.Values{"container": {container}, "tailLines": {strconv.Itoa(wanted.tail)}}
	if wanted.previous {
		query.Set("previous", "true")
	}
	if wanted.follow {
		query.Set("follow", "true")
	}
	if seconds := int(wanted.since / time.Second); seconds > 0 {
		query.Set("sinceSeconds", strconv.Itoa(seconds))
	}
	log, err := p.openLog(ctx, pod.GetNamespace(), pod.GetName(), query)
	if err != nil {
		if node := text(pod, "spec", "nodeName"); p.simulates(ctx, node) {
			err = advise(fmt.Errorf("it is on the simulated node %s, which runs no programs: it has no log", node), "to see logs, deliver to a cluster with real nodes")
		}
		return fmt.Errorf("pod/%s: %w", pod.GetName(), err)
	}
	defer func() { _ = log.Close() }()
	lines := bufio.NewReaderSize(log, maxLogLine)
	for {
		text, err := lines.ReadSlice('\n')
		if len(text) > 0 {
			line := strings.ToValidUTF8(strings.TrimRight(string(text), "\r\n"), "\uFFFD")
			if err := show(logLine{pod.GetName(), container, line}); err != nil {
				return err
			}
		}
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = lines.ReadSlice('\n')
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// simulates reports whether nothing is really run on a node. Who may not look
// is not told.
func (c *cluster) simulates(ctx context.Context, node string) bool {
	if node == "" {
		return false
	}
	o, err := c.objects.Resource(schema.GroupVersionResource{Version: "v1", Resource: "nodes"}).Get(ctx, node, getOptions)
	return err == nil && pods.Simulated(o)
}

// firstContainer is the one that kubectl takes: that of its annotation, else the
// first.
func firstContainer(pod *unstructured.Unstructured) string {
	if name := pod.GetAnnotations()["kubectl.kubernetes.io/default-container"]; name != "" {
		return name
	}
	containers, _, _ := unstructured.NestedSlice(pod.Object, "spec", "containers")
	if len(containers) == 0 {
		return ""
	}
	first, _ := containers[0].(map[string]any)
	name, _ := first["name"].(string)
	return name
}

// openLog asks the API server for the log of a Pod, which is no object.
func (c *cluster) openLog(ctx context.Context, namespace, pod string, query url.Values) (io.ReadCloser, error) {
	reach, err := rest.HTTPClientFor(c.config)
	if err != nil {
		return nil, err
	}
	at, _, err := rest.DefaultServerUrlFor(c.config)
	if err != nil {
		return nil, err
	}
	at = at.JoinPath("api", "v1", "namespaces", namespace, "pods", pod, "log")
	at.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, err
	}
	response, err := reach.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode == http.StatusOK {
		return response.Body, nil
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxLogLine))
	if err != nil {
		return nil, err
	}
	return nil, apierrors.NewGenericServerResponse(response.StatusCode, "get", schema.GroupResource{Resource: "pods/log"}, pod, statusMessage(body), 0, true)
}

// statusMessage is what the API server says in a Status, or the answer as it is.
func statusMessage(body []byte) string {
	status := &unstructured.Unstructured{}
	if status.UnmarshalJSON(body) == nil {
		if message := text(status, "message"); message != "" {
			return message
		}
	}
	return oneLine(string(body))
}
