package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/api/client"
	"plumb.dev/plumb/internal/api/plumbv1"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// explain asks the server, which works it out with the rights of the delivery
// and tells what the caller may see.
func (s *atServer) explain(ctx context.Context, args []string, local string) (*explanation, error) {
	if local != "" {
		return nil, notServed("a comparison with a local directory", "")
	}
	kind, namespace, name, err := s.about(args)
	if err != nil {
		return nil, err
	}
	if declared := kindNamed(kind); declared != nil {
		if namespace == "" {
			namespace = s.app.namespaceOf(declared)
		}
		if acted[declared.group] {
			return s.explained(ctx, &plumbv1.ExplainRequest{Ref: refTo(declared, namespace, name)})
		}
		return s.explainedSource(ctx, declared, namespace, name)
	}
	if namespace == "" {
		namespace = s.app.kube.namespace
	}
	return s.explainedObject(ctx, kind, namespace, name)
}

// about reads what is to be explained: KIND NAME, KIND/NAME or
// KIND/NAMESPACE/NAME.
func (s *atServer) about(args []string) (kind, namespace, name string, err error) {
	parts := strings.Split(strings.Join(args, "/"), "/")
	if len(args) > 1 && strings.Contains(args[0], "/") || len(parts) < 2 || len(parts) > 3 || slices.Contains(parts, "") {
		return "", "", "", advise(fmt.Errorf("%q names no object", strings.Join(args, " ")), "%s", targetUsage)
	}
	if len(parts) == 3 {
		namespace = parts[1]
	}
	return parts[0], namespace, parts[len(parts)-1], nil
}

// explainedObject explains an object of a delivery, or what the cluster made of
// one.
func (s *atServer) explainedObject(ctx context.Context, kind, namespace, name string) (*explanation, error) {
	request, told, err := s.located(ctx, kind, namespace, name)
	if err != nil {
		return nil, err
	}
	return s.asExplanation(ctx, request, told)
}

// located finds an object among those that deliveries own, and what is told of
// it. What the cluster made of one, such as a Pod, is found by its name, which
// begins with that of what made it.
func (s *atServer) located(ctx context.Context, kind, namespace, name string) (*plumbv1.ExplainRequest, *plumbv1.ExplainResponse, error) {
	made, isMade := madeKinds[strings.ToLower(kind)]
	for at := name; ; {
		found, err := s.client.Fleet.Search(ctx, &plumbv1.SearchRequest{Text: at, Limit: searchHits})
		if err != nil {
			return nil, nil, s.told(err)
		}
		for _, hit := range found.GetHits() {
			ref := hit.GetRef()
			if hit.GetType() != "object" || ref.GetName() != at || ref.GetNamespace() != "" && ref.GetNamespace() != namespace {
				continue
			}
			if at == name && isCalled(kind, ref) {
				request := &plumbv1.ExplainRequest{Ref: hit.GetDelivery(), Object: ref}
				told, err := s.client.Deliveries.Explain(ctx, request)
				return request, told, s.told(err)
			}
			if at != name && makers[schema.GroupKind{Group: ref.GetGroup(), Kind: ref.GetKind()}] {
				child := &plumbv1.ObjectRef{Group: made.Group, Version: made.Version, Kind: made.Kind, Namespace: namespace, Name: name}
				request := &plumbv1.ExplainRequest{Ref: hit.GetDelivery(), Object: child}
				told, err := s.client.Deliveries.Explain(ctx, request)
				if client.CodeOf(err) != client.NotFound {
					return request, told, s.told(err)
				}
			}
		}
		cut := strings.LastIndexByte(at, '-')
		if !isMade || cut <= 0 {
			return nil, nil, advise(fmt.Errorf("no delivery that you may see has %s %s in namespace %q", kind, name, namespace),
				"name its namespace with -n, and see what a delivery has with: plumb tree")
		}
		at = at[:cut]
	}
}

// traced reads which objects are meant.
func (s *atServer) traced(args []string) ([]traced, error) {
	named := args
	if len(args) > 1 && !strings.Contains(args[0], "/") {
		named = nil
		for _, name := range args[1:] {
			named = append(named, args[0]+"/"+name)
		}
	}
	var all []traced
	for _, arg := range named {
		kind, namespace, name, err := s.about([]string{arg})
		if err != nil {
			return nil, err
		}
		if namespace == "" {
			namespace = s.app.kube.namespace
			if declared := kindNamed(kind); declared != nil {
				namespace = s.app.namespaceOf(declared)
			}
		}
		all = append(all, traced{arg, func(ctx context.Context) (*provenance, error) { return s.provenanceOf(ctx, kind, namespace, name) }})
	}
	if len(all) == 0 {
		return nil, advise(errors.New("no object is named"), "%s", targetUsage)
	}
	return all, nil
}

// provenanceOf goes by what deliveries own.
func (s *atServer) provenanceOf(ctx context.Context, kind, namespace, name string) (*provenance, error) {
	_, told, err := s.located(ctx, kind, namespace, name)
	if err != nil {
		return nil, err
	}
	owner := idOf(told.GetOwner())
	by := declaredKindOf(owner.GroupKind())
	if by == nil {
		return nil, fmt.Errorf("its delivery %s is of a kind that this plumb does not know: the server is newer", owner)
	}
	delivery, err := s.get(ctx, by, owner.Namespace, owner.Name)
	if err != nil {
		return nil, err
	}
	return &provenance{object: idOf(told.GetObject()), manager: "Plumb", by: by, delivery: delivery}, nil
}

// searchHits bounds the objects that an answer of a search has.
const searchHits = 200

// madeKinds are those that the cluster makes of what is delivered, by the names
// that people give them.
var madeKinds = func() map[string]schema.GroupVersionKind {
	names := map[string]schema.GroupVersionKind{}
	for short, kind := range map[string]schema.GroupVersionKind{
		"po": {Version: "v1", Kind: "Pod"}, "rs": {Group: "apps", Version: "v1", Kind: "ReplicaSet"}, "job": {Group: "batch", Version: "v1", Kind: "Job"},
	} {
		singular := strings.ToLower(kind.Kind)
		names[short], names[singular], names[singular+"s"] = kind, kind, kind
	}
	return names
}()

// shortKinds are the short names that Kubernetes itself gives; those of custom
// resources are known to their cluster only.
var shortKinds = map[string]string{
	"deploy": "Deployment", "sts": "StatefulSet", "ds": "DaemonSet", "rs": "ReplicaSet", "po": "Pod", "svc": "Service", "cm": "ConfigMap",
	"ing": "Ingress", "ns": "Namespace", "sa": "ServiceAccount", "pvc": "PersistentVolumeClaim", "pv": "PersistentVolume", "cj": "CronJob",
	"hpa": "HorizontalPodAutoscaler", "pdb": "PodDisruptionBudget", "netpol": "NetworkPolicy", "crd": "CustomResourceDefinition",
	"crds": "CustomResourceDefinition", "quota": "ResourceQuota", "limits": "LimitRange", "sc": "StorageClass", "pc": "PriorityClass",
}

// isCalled reports whether people call the kind of an object by a word: its name
// or resource, with or without its group, or its short name.
func isCalled(word string, ref *plumbv1.ObjectRef) bool {
	word, group, qualified := strings.Cut(word, ".")
	if qualified && !isOfGroup(group, ref) {
		return false
	}
	plural, singular := meta.UnsafeGuessKindToResource(schema.GroupVersionKind{Group: ref.GetGroup(), Version: ref.GetVersion(), Kind: ref.GetKind()})
	return containsFold([]string{ref.GetKind(), plural.Resource, singular.Resource}, word) || shortKinds[strings.ToLower(word)] == ref.GetKind()
}

// isOfGroup reports whether GROUP or VERSION.GROUP is that of an object, whose
// version may not be known.
func isOfGroup(word string, ref *plumbv1.ObjectRef) bool {
	version, group, versioned := strings.Cut(word, ".")
	return strings.EqualFold(word, ref.GetGroup()) ||
		versioned && strings.EqualFold(group, ref.GetGroup()) && (ref.GetVersion() == "" || strings.EqualFold(version, ref.GetVersion()))
}

// explained is an explanation of the server as this command line prints one.
func (s *atServer) explained(ctx context.Context, request *plumbv1.ExplainRequest) (*explanation, error) {
	told, err := s.client.Deliveries.Explain(ctx, request)
	if err != nil {
		return nil, s.told(err)
	}
	return s.asExplanation(ctx, request, told)
}

// asExplanation adds how the object is doing.
func (s *atServer) asExplanation(ctx context.Context, request *plumbv1.ExplainRequest, told *plumbv1.ExplainResponse) (*explanation, error) {
	e := &explanation{
		Object: idOf(told.GetObject()).String(), URL: told.GetUrl(), Revision: told.GetRevision(),
		Commit: told.GetCommit().GetSubject(), Author: told.GetCommit().GetAuthor(), File: told.GetFile(), Line: int(told.GetLine()),
		State: told.GetHeadline(), Drift: told.GetDrift(), Writers: told.GetWriters(), Advice: told.GetAdvice(),
	}
	if when := told.GetCommit().GetTime(); when != nil && e.Author != "" {
		e.Author += ", " + when.AsTime().UTC().Format(time.RFC3339)
	}
	if owner := idOf(told.GetOwner()); owner != idOf(told.GetObject()) {
		e.Owner = owner.String()
	}
	judged, err := s.judged(ctx, request, told)
	if err != nil {
		return nil, s.told(err)
	}
	e.Health, e.Reason, e.Message = healthWord(judged.GetState()), judged.GetReason(), judged.GetMessage()
	for _, because := range told.GetBecause() {
		if because.GetText() != e.Message { // which is said already
			e.Because = append(e.Because, because.GetText())
		}
	}
	return e, nil
}

// judged is the health of what was explained.
func (s *atServer) judged(ctx context.Context, request *plumbv1.ExplainRequest, told *plumbv1.ExplainResponse) (*plumbv1.Health, error) {
	if idOf(told.GetOwner()) == idOf(told.GetObject()) {
		detail, err := s.client.Deliveries.GetDelivery(ctx, &plumbv1.GetDeliveryRequest{Ref: told.GetOwner()})
		return detail.GetDelivery().GetHealth(), err
	}
	for _, because := range told.GetBecause() {
		if because.GetHealth() != nil && idOf(because.GetObject()) == idOf(told.GetObject()) {
			return because.GetHealth(), nil
		}
	}
	detail, err := s.client.Deliveries.GetObject(ctx, &plumbv1.GetObjectRequest{Ref: told.GetOwner(), Object: request.GetObject()})
	return detail.GetResource().GetHealth(), err
}

// healthWord puts the server's word for a state of health into that of this
// command line.
func healthWord(state string) string {
	for said, word := range map[string]model.Healthiness{
		"Healthy": model.Current, "Progressing": model.InProgress, "Degraded": model.Unhealthy, "Missing": model.NotFound, "Suspended": model.Paused,
	} {
		if said == state {
			return string(word)
		}
	}
	return string(model.Unknown)
}

// explainedSource says how a source is doing.
func (s *atServer) explainedSource(ctx context.Context, kind *declaredKind, namespace, name string) (*explanation, error) {
	told, err := s.client.Fleet.GetSource(ctx, &plumbv1.GetSourceRequest{Ref: refTo(kind, namespace, name)})
	if err != nil {
		return nil, s.told(err)
	}
	row := told.GetSource()
	e := &explanation{
		Object: idOf(row.GetRef()).String(), URL: row.GetUrl(), Revision: row.GetRevision(), Commit: row.GetCommit().GetSubject(), Author: row.GetCommit().GetAuthor(),
		State: "read by " + countText(int(row.GetReaders()), "delivery", "deliveries"), Health: healthWord(row.GetHealth().GetState()), Reason: row.GetReason(), Message: row.GetMessage(),
	}
	if advice := told.GetFault().GetAdvice(); advice != "" {
		e.Advice = append(e.Advice, advice)
	}
	if row.GetSuspended() {
		e.State += "; suspended"
		e.Advice = append(e.Advice, fmt.Sprintf("resume it with: plumb resume source %s %s -n %s", kind.singular, name, namespace))
	}
	return e, nil
}

func countText(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// compare asks for the differences of each delivery that is meant.
func (s *atServer) compare(ctx context.Context, flags previewFlags, args []string, show func(comparison) error) error {
	if flags.path != "" || flags.file != "" {
		return notServed("a comparison with what lies on this machine", "")
	}
	namespace := s.app.namespaceOf(flags.kind)
	names := args
	if flags.all {
		list, err := s.list(ctx, flags.kind, namespace, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for i := range list.Items {
			names = append(names, list.Items[i].GetName())
		}
		if len(names) == 0 {
			return fmt.Errorf("no %s found in namespace %q", flags.kind.group.Kind, namespace)
		}
	}
	var failures []error
	for _, name := range names {
		err := s.compareOne(ctx, refTo(flags.kind, namespace, name), show)
		if err != nil && len(names) > 1 {
			err = fmt.Errorf("%s/%s/%s: %w", flags.kind.group.Kind, namespace, name, err)
		}
		failures = append(failures, err)
	}
	if len(failures) == 1 {
		return failures[0]
	}
	return errors.Join(failures...)
}

func (s *atServer) compareOne(ctx context.Context, ref *plumbv1.ObjectRef, show func(comparison) error) error {
	told, err := s.client.Deliveries.GetDiff(ctx, &plumbv1.GetDiffRequest{Ref: ref})
	if err != nil {
		return s.told(err)
	}
	c := comparison{id: idOf(ref)}
	for _, o := range told.GetObjects() {
		if verb := differenceVerbs[o.GetChange().GetVerb()]; verb != "" && !o.GetIgnored() {
			c.differences = append(c.differences, difference{
				id: idOf(o.GetObject()), origin: model.Origin{File: o.GetFile(), Line: int(o.GetLine())},
				verb: verb, note: o.GetChange().GetWhy(), diff: o.GetChange().GetDiff(),
			})
		}
	}
	if err := show(c); err != nil {
		return err
	}
	var failures []error
	for _, f := range told.GetFailed() {
		failures = append(failures, &model.Fault{
			Reason: f.GetReason(), Message: f.GetMessage(), Advice: f.GetAdvice(), Object: idOf(f.GetObject()),
			Origin: model.Origin{File: f.GetFile(), Line: int(f.GetLine())},
		})
	}
	return errors.Join(failures...)
}

// differenceVerbs are what plumb diff says of what would become of an object.
var differenceVerbs = map[string]string{
	"create": "created", "apply": "changed", "update": "changed", "adopt": "changed", "recreate": "recreated", "delete": "deleted",
}

// revisions are what the status tells: Helm's records are Secrets, which the
// server hands out to nobody.
func (s *atServer) revisions(_ context.Context, o *unstructured.Unstructured) ([]revision, error) {
	return toldRevisions(o), nil
}

// withheld lists the deletions that the server holds back for the token that the
// object names.
func (s *atServer) withheld(ctx context.Context, o *unstructured.Unstructured, h held) (string, error) {
	kind := deliveryKindOf(object.Of(o).GroupKind())
	told, err := s.client.Deliveries.GetDelivery(ctx, &plumbv1.GetDeliveryRequest{Ref: refTo(kind, o.GetNamespace(), o.GetName())})
	if err != nil {
		return "", s.told(err)
	}
	hold := told.GetDelivery().GetHold()
	if hold.GetToken() != h.token {
		return "", advise(errors.New("what waits has changed in this moment"), "look at it again: plumb approve %s", called(kind, o))
	}
	var lines []string
	for _, ref := range hold.GetDeletes() {
		lines = append(lines, idOf(ref).String())
	}
	return strings.Join(lines, "\n"), nil
}

// eventPause lies between two looks at events that are followed.
const eventPause = 2 * time.Second

// events are those about one delivery or source, and the sources that it reads.
// With watch, the server is asked again and again.
func (s *atServer) events(ctx context.Context, wanted wantedEvents, goOn bool, show func([]unstructured.Unstructured) error) error {
	if wanted.name == "" || wanted.namespace == "" {
		return notServed("a list of all events", "say what they are about, and where: plumb events --for Kustomization/apps -n flux-system")
	}
	refs := []*plumbv1.ObjectRef{refTo(wanted.declared, wanted.namespace, wanted.name)}
	for _, source := range wanted.sources {
		if kind := declaredKindOf(schema.GroupKind{Group: sourceGroup, Kind: source.kind}); kind != nil {
			refs = append(refs, refTo(kind, source.namespace, source.name))
		}
	}
	shown := map[string]bool{}
	for {
		var news []unstructured.Unstructured
		for i, ref := range refs {
			told, err := s.client.Deliveries.GetObject(ctx, &plumbv1.GetObjectRequest{Ref: ref})
			if i > 0 && (client.CodeOf(err) == client.PermissionDenied || client.CodeOf(err) == client.NotFound) {
				continue // a right to a delivery is none to its source
			}
			if err != nil {
				return s.told(err)
			}
			for _, e := range told.GetEvents() {
				event := eventObject(e)
				if key := fmt.Sprint(event.Object); !shown[key] {
					shown[key] = true
					news = append(news, event)
				}
			}
		}
		if len(news) > 0 || !goOn {
			if err := show(news); err != nil || !goOn {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(eventPause):
		}
	}
}

// eventObject is an event of the server as the cluster has it.
func eventObject(e *plumbv1.Event) unstructured.Unstructured {
	about := e.GetAbout()
	version := schema.GroupVersion{Group: about.GetGroup(), Version: about.GetVersion()}.String()
	return unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Event", "metadata": map[string]any{"namespace": about.GetNamespace()},
		"type": e.GetType(), "reason": e.GetReason(), "message": e.GetMessage(), "count": int64(e.GetCount()), "lastTimestamp": momentText(e.GetLast()),
		"involvedObject": map[string]any{"apiVersion": version, "kind": about.GetKind(), "namespace": about.GetNamespace(), "name": about.GetName()},
	}}
}

func momentText(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return t.AsTime().UTC().Format(time.RFC3339)
}

func (*atServer) masks() string { return object.Mask }

// whoami asks the server.
func (s *atServer) whoami(ctx context.Context) (*identity, error) {
	me, err := s.client.Session.GetMe(ctx, &plumbv1.GetMeRequest{})
	if err != nil {
		return nil, s.told(err)
	}
	who := &identity{
		Server: s.login.Server, Login: s.login.Name, Name: cmp.Or(me.GetName(), "anonymous"), Groups: me.GetGroups(),
		By: me.GetKind(), Issuer: me.GetIssuer(), Expires: momentText(me.GetExpires()),
	}
	if s.login.Refresh != "" {
		who.Renews = true
	}
	return who, nil
}
