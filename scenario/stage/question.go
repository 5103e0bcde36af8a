package stage

import (
	"context"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/util/jsonpath"
	"sigs.k8s.io/yaml"
)

// A Question is what a story asks of one object; all of it has to hold at the
// same time. It is written in words:
//
//	exists                     the object is there
//	gone                       it is not
//	ready                      Ready is True at its generation, and the last wake-up is handled
//	failed [REASON]            Ready is False at its generation
//	running [REASON]           Ready is Unknown
//	saying TEXT                the message of Ready holds the text
//	at REVISION                it has applied, or for a source holds, the revision or a part of it
//	attempted REVISION         it has tried the revision
//	synced  out-of-sync        the sync status of an Application, compared with its present spec
//	healthy degraded progressing missing suspended
//	                           its health
//	phase PHASE                of its last operation
//	TYPE=STATUS                a condition, such as Healthy=True
//	.path=VALUE  .path!=VALUE  a field, in the words of kubectl's jsonpath
//	.path~REGEXP
type Question struct {
	words  string
	checks []check
	gone   bool // asks for absence
}

// A check answers "" if it holds, else what it saw.
type check func(*unstructured.Unstructured) string

// ParseQuestion reads the words.
func ParseQuestion(words []string) (Question, error) {
	q := Question{words: strings.Join(words, " ")}
	for i := 0; i < len(words); i++ {
		next := func() (string, error) {
			if i++; i == len(words) {
				return "", fmt.Errorf("%q wants a word after it", words[i-1])
			}
			return words[i], nil
		}
		maybe := func() string {
			if i+1 < len(words) && reasonWord.MatchString(words[i+1]) {
				i++
				return words[i]
			}
			return ""
		}
		var add check
		switch word := words[i]; {
		case word == "exists":
			add = func(*unstructured.Unstructured) string { return "" }
		case word == "gone":
			q.gone = true
			continue
		case word == "ready":
			add = readiness
		case word == "failed":
			add = readyIs("False", maybe())
		case word == "running":
			add = readyIs("Unknown", maybe())
		case word == "saying":
			text, err := next()
			if err != nil {
				return q, err
			}
			add = saying(text)
		case syncWords[word] != "":
			add = synced(syncWords[word])
		case healthWords[word] != "":
			add = field("health", healthWords[word], "status", "health", "status")
		case word == "phase":
			phase, err := next()
			if err != nil {
				return q, err
			}
			add = field("the phase of the operation", phase, "status", "operationState", "phase")
		case word == "at", word == "attempted":
			revision, err := next()
			if err != nil {
				return q, err
			}
			add = revisionIs(word, revision)
		case strings.HasPrefix(word, "."):
			c, err := fieldCheck(word)
			if err != nil {
				return q, err
			}
			add = c
		case conditionWord.MatchString(word):
			kind, status, _ := strings.Cut(word, "=")
			add = func(o *unstructured.Unstructured) string {
				return differs("condition "+kind, condition(o, kind).status, status)
			}
		default:
			return q, fmt.Errorf("%q is no question", word)
		}
		q.checks = append(q.checks, add)
	}
	if q.gone && len(q.checks) > 0 {
		return q, fmt.Errorf("%q: an object that is gone has nothing else to say", q.words)
	}
	if !q.gone && len(q.checks) == 0 {
		return q, fmt.Errorf("no question")
	}
	return q, nil
}

var (
	reasonWord    = regexp.MustCompile(`^[A-Z][A-Za-z]+$`)
	conditionWord = regexp.MustCompile(`^[A-Z][A-Za-z]+=(True|False|Unknown|)$`)
)

// Ask answers "" if the question holds for the object (nil: absent), else what
// was seen instead.
func (q Question) Ask(o *unstructured.Unstructured) string {
	if q.gone {
		if o != nil {
			return "it exists"
		}
		return ""
	}
	if o == nil {
		return "it does not exist"
	}
	for _, holds := range q.checks {
		if seen := holds(o); seen != "" {
			return seen
		}
	}
	return ""
}

type conditionView struct{ status, reason, message string }

func condition(o *unstructured.Unstructured, kind string) conditionView {
	list, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, entry := range list {
		c, ok := entry.(map[string]any)
		if !ok || c["type"] != kind {
			continue
		}
		text := func(key string) string { s, _ := c[key].(string); return s }
		return conditionView{text("status"), text("reason"), text("message")}
	}
	return conditionView{}
}

func differs(what, got, want string) string {
	if got == want {
		return ""
	}
	return fmt.Sprintf("%s is %q, not %q", what, got, want)
}

// The annotation and the status field by which a person wakes a Flux object.
const wakeAnnotation = "reconcile.fluxcd.io/requestedAt"

func current(o *unstructured.Unstructured) string {
	observed, found, _ := unstructured.NestedInt64(o.Object, "status", "observedGeneration")
	if found && observed != o.GetGeneration() {
		return fmt.Sprintf("generation %d has not been observed", o.GetGeneration())
	}
	wake := o.GetAnnotations()[wakeAnnotation]
	handled, _, _ := unstructured.NestedString(o.Object, "status", "lastHandledReconcileAt")
	if wake != "" && wake != handled {
		return "the last wake-up has not been handled"
	}
	return ""
}

func readiness(o *unstructured.Unstructured) string {
	if seen := current(o); seen != "" {
		return seen
	}
	return differs("condition Ready", condition(o, "Ready").status, "True")
}

// The words of Argo CD.
var (
	syncWords   = map[string]string{"synced": "Synced", "out-of-sync": "OutOfSync"}
	healthWords = map[string]string{"healthy": "Healthy", "degraded": "Degraded", "progressing": "Progressing", "missing": "Missing", "suspended": "Suspended"}
)

// synced asks for the sync status of what the spec says now, once nobody waits
// for a refresh or an operation any more.
func synced(want string) check {
	return func(o *unstructured.Unstructured) string {
		if o.GetAnnotations()["argocd.argoproj.io/refresh"] != "" {
			return "the refresh has not been handled"
		}
		if o.Object["operation"] != nil {
			return "the operation has not been handled"
		}
		for _, part := range []string{"source", "sources", "destination"} {
			compared, there, _ := unstructured.NestedFieldNoCopy(o.Object, "status", "sync", "comparedTo", part)
			declared, _, _ := unstructured.NestedFieldNoCopy(o.Object, "spec", part)
			if there && !reflect.DeepEqual(compared, declared) {
				return "its present " + part + " has not been compared"
			}
		}
		got, _, _ := unstructured.NestedString(o.Object, "status", "sync", "status")
		return differs("the sync status", got, want)
	}
}

func field(what, want string, path ...string) check {
	return func(o *unstructured.Unstructured) string {
		got, _, _ := unstructured.NestedString(o.Object, path...)
		return differs(what, got, want)
	}
}

func readyIs(status, reason string) check {
	return func(o *unstructured.Unstructured) string {
		ready := condition(o, "Ready")
		if seen := differs("condition Ready", ready.status, status); seen != "" {
			return seen
		}
		if reason != "" {
			return differs("the reason of Ready", ready.reason, reason)
		}
		return ""
	}
}

func saying(text string) check {
	return func(o *unstructured.Unstructured) string {
		if message := condition(o, "Ready").message; !strings.Contains(message, text) {
			return fmt.Sprintf("Ready says %q, without %q", message, text)
		}
		return ""
	}
}

func revisionIs(word, want string) check {
	paths := [][]string{{"status", "lastAppliedRevision"}, {"status", "artifact", "revision"}, {"status", "sync", "revision"}}
	if word == "attempted" {
		paths = [][]string{{"status", "lastAttemptedRevision"}}
	}
	return func(o *unstructured.Unstructured) string {
		var got string
		for _, path := range paths {
			if s, found, _ := unstructured.NestedString(o.Object, path...); found {
				got = s
			}
		}
		if !strings.Contains(got, want) {
			return fmt.Sprintf("it is at %q, not at %q", got, want)
		}
		return ""
	}
}

var fieldWord = regexp.MustCompile(`(?s)^(\..*?[^\\])(!=|=|~)(.*)$`)

func fieldCheck(word string) (check, error) {
	parts := fieldWord.FindStringSubmatch(filters.ReplaceAllStringFunc(word, hideFilter))
	if parts == nil {
		return nil, fmt.Errorf("%q is no question: .path=VALUE, .path!=VALUE or .path~REGEXP is wanted", word)
	}
	path, operator, want := showFilter(parts[1]), parts[2], showFilter(parts[3])
	read, err := NewField(path)
	if err != nil {
		return nil, err
	}
	var pattern *regexp.Regexp
	if operator == "~" {
		if pattern, err = regexp.Compile(want); err != nil {
			return nil, err
		}
	}
	return func(o *unstructured.Unstructured) string {
		got, err := read.Of(o)
		switch {
		case err != nil:
			return err.Error()
		case operator == "=":
			return differs(path, got, want)
		case operator == "!=" && got == want:
			return fmt.Sprintf("%s is %q", path, got)
		case operator == "~" && !pattern.MatchString(got):
			return fmt.Sprintf("%s is %q, which does not match %s", path, got, want)
		}
		return ""
	}, nil
}

// Filters such as [?(@.name=="a")] hold operators of their own.
var filters = regexp.MustCompile(`\[\?\([^)]*\)\]`)

func hideFilter(s string) string {
	return strings.NewReplacer("=", "\x00", "~", "\x01", "!", "\x02").Replace(s)
}

func showFilter(s string) string {
	return strings.NewReplacer("\x00", "=", "\x01", "~", "\x02", "!").Replace(s)
}

// A Field reads one value out of objects; a missing one is "".
type Field struct {
	path  string
	parse func() (*jsonpath.JSONPath, error)
}

// NewField takes a path in the words of kubectl's jsonpath, such as
// .spec.template.spec.containers[0].image.
func NewField(path string) (Field, error) {
	f := Field{path: path, parse: func() (*jsonpath.JSONPath, error) {
		p := jsonpath.New("field").AllowMissingKeys(true)
		return p, p.Parse("{" + path + "}")
	}}
	_, err := f.parse()
	return f, err
}

// Of reads the value; maps and lists come as JSON.
func (f Field) Of(o *unstructured.Unstructured) (string, error) {
	if o == nil {
		return "", errNoObject
	}
	path, err := f.parse()
	if err != nil {
		return "", err
	}
	var text strings.Builder
	if err := path.Execute(&text, o.Object); err != nil {
		return "", fmt.Errorf("%s: %w", f.path, err)
	}
	return text.String(), nil
}

// settleDelay is how long Await waits before it looks again for a kind that
// does not exist yet, and after a watch that broke.
const settleDelay = 50 * time.Millisecond

// Await waits until the question holds for the object. The error tells what
// was seen last.
func (k *Kube) Await(ctx context.Context, n Name, q Question) error {
	var last *unstructured.Unstructured
	seen := "nothing was seen of it"
	look := func(o *unstructured.Unstructured) bool {
		last, seen = o, q.Ask(o)
		return seen == ""
	}
	for {
		held, err := k.follow(ctx, n, look)
		if held {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not %s: %s\n%s", n, q.words, seen, show(last))
		case <-time.After(settleDelay):
		}
		if err != nil && last == nil {
			seen = err.Error()
		}
	}
}

// follow looks at the object, and again at every change of it, until look is
// content or the watch ends.
func (k *Kube) follow(ctx context.Context, n Name, look func(*unstructured.Unstructured) bool) (bool, error) {
	at, err := k.handle(n)
	if err != nil {
		if absent(err) == nil {
			return look(nil), nil
		}
		return false, err
	}
	only := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", n.Name).String()}
	list, err := at.List(ctx, only)
	if err != nil {
		if absent(err) == nil {
			k.forget()
			return look(nil), nil
		}
		return false, err
	}
	var now *unstructured.Unstructured
	if len(list.Items) > 0 {
		now = &list.Items[0]
	}
	if look(now) {
		return true, nil
	}
	only.ResourceVersion = list.GetResourceVersion()
	changes, err := at.Watch(ctx, only)
	if err != nil {
		return false, err
	}
	defer changes.Stop()
	for change := range changes.ResultChan() {
		o, ok := change.Object.(*unstructured.Unstructured)
		if !ok || change.Type == watch.Error {
			return false, nil
		}
		if change.Type == watch.Deleted {
			o = nil
		}
		if look(o) {
			return true, nil
		}
	}
	return false, nil
}

// show prints an object for a person who wants to know why it is not as asked.
func show(o *unstructured.Unstructured) string {
	if o == nil {
		return "(it does not exist)"
	}
	o = o.DeepCopy()
	o.SetManagedFields(nil)
	if o.GetKind() == "Secret" {
		unstructured.RemoveNestedField(o.Object, "data")
	}
	text, err := yaml.Marshal(o.Object)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// AwaitEvent waits for an event about the object with a reason and a text in
// its message. The error lists the events that there were.
func (k *Kube) AwaitEvent(ctx context.Context, n Name, reason, text string) error {
	var seen []string
	look := func(o *unstructured.Unstructured) bool {
		about, _, _ := unstructured.NestedString(o.Object, "involvedObject", "name")
		kind, _, _ := unstructured.NestedString(o.Object, "involvedObject", "kind")
		if about != n.Name || !strings.EqualFold(kind, n.Kind) {
			return false
		}
		gotReason, _, _ := unstructured.NestedString(o.Object, "reason")
		message, _, _ := unstructured.NestedString(o.Object, "message")
		seen = append(seen, gotReason+": "+message)
		return gotReason == reason && strings.Contains(message, text)
	}
	for ctx.Err() == nil {
		at, err := k.handle(Name{Kind: "events", Namespace: n.Namespace})
		if err != nil {
			return err
		}
		list, err := at.List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		seen = nil
		for i := range list.Items {
			if look(&list.Items[i]) {
				return nil
			}
		}
		changes, err := at.Watch(ctx, metav1.ListOptions{ResourceVersion: list.GetResourceVersion()})
		if err != nil {
			return err
		}
		for change := range changes.ResultChan() {
			if o, ok := change.Object.(*unstructured.Unstructured); ok && change.Type != watch.Error && look(o) {
				changes.Stop()
				return nil
			}
		}
	}
	return fmt.Errorf("no event %s with %q about %s; there were:\n%s", reason, text, n, strings.Join(seen, "\n"))
}
