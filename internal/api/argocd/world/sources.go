package world

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/api/argocd"
	"plumb.dev/plumb/internal/cluster"
	"plumb.dev/plumb/internal/dialect/argo/repository"
	"plumb.dev/plumb/internal/model"
)

// input is what is known of a source of an Application.
func (w *world) input(app *unstructured.Unstructured, source map[string]any) (model.InputReport, bool) {
	_, known, err := w.known(app)
	if err != nil {
		return model.InputReport{}, false
	}
	sources, _, _ := unstructured.NestedSlice(app.Object, "spec", "sources")
	if one, found, _ := unstructured.NestedMap(app.Object, "spec", "source"); found && len(sources) == 0 {
		sources = []any{one}
	}
	for i, s := range sources {
		m, _ := s.(map[string]any)
		if i < len(known.Inputs) && m["repoURL"] == source["repoURL"] && m["chart"] == source["chart"] && m["path"] == source["path"] && m["ref"] == source["ref"] {
			return known.Inputs[i], true
		}
	}
	return model.InputReport{}, false
}

// Revision tells of the commit that an Application stands at.
func (w *world) Revision(_ context.Context, app *unstructured.Unstructured, source map[string]any, revision string) (argocd.Revision, error) {
	in, ok := w.input(app, source)
	if !ok || revision != in.Revision && revision != in.Commit.Hash {
		return argocd.Revision{}, apierrors.NewNotFound(schema.GroupResource{Resource: "revisions"}, revision)
	}
	return argocd.Revision{Author: in.Commit.Author, Message: in.Commit.Message, Date: in.Commit.When, Signature: in.Commit.Signature}, nil
}

// Chart tells of a version of a chart what is known without opening it.
func (w *world) Chart(_ context.Context, _ *unstructured.Unstructured, source map[string]any, revision string) (argocd.Chart, error) {
	return argocd.Chart{Description: fmt.Sprintf("%s %s", source["chart"], revision), Home: printable(source)}, nil
}

func printable(source map[string]any) string {
	text, _ := source["repoURL"].(string)
	if at := strings.LastIndex(text, "@"); at >= 0 && strings.Contains(text, "://") {
		return text[:strings.Index(text, "://")+3] + text[at+1:]
	}
	return text
}

// maxRounds bounds how often a dialect may ask for more.
const maxRounds = 16

// facts finds what a dialect needs to see, until it needs nothing more.
func (w *world) facts(ctx context.Context, compile func(model.Facts) ([]model.Need, error)) (model.Facts, error) {
	local := w.Local()
	if local == nil {
		return nil, ErrNotLeading
	}
	facts := model.Facts{}
	for range maxRounds {
		needs, err := compile(facts)
		if err != nil {
			return facts, err
		}
		open := slices.DeleteFunc(needs, func(n model.Need) bool { _, known := facts[n]; return known })
		if len(open) == 0 {
			return facts, nil
		}
		for _, need := range open {
			facts[need] = w.fact(ctx, local, need)
		}
	}
	return nil, &model.Fault{Reason: "InvalidSpecError", Message: fmt.Sprintf("more than %d rounds of questions are asked about other objects", maxRounds)}
}

// fact reads one needed object, as Plumb itself.
func (w *world) fact(ctx context.Context, local *cluster.Cluster, need model.Need) model.Fact {
	gvk := schema.GroupVersionKind{Group: need.Group, Version: need.Version, Kind: need.Kind}
	if need.Kind == "" {
		return model.Fact{State: model.Failed, Message: "kinds that are named by their plural are looked at by the engine"}
	}
	kind, err := local.Resolve(ctx, gvk)
	if err != nil {
		return model.Fact{State: model.Absent}
	}
	session := local.As(model.Identity{})
	if need.Selector == "" {
		o, err := session.Get(ctx, kind, need.Namespace, need.Name)
		return factOf(o, nil, err)
	}
	selector := need.Selector
	if selector == "*" {
		selector = ""
	}
	var all []*unstructured.Unstructured
	_, err = session.List(ctx, kind, cluster.ListOptions{Namespace: need.Namespace, LabelSelector: selector}, func(o *unstructured.Unstructured) error {
		all = append(all, o)
		return nil
	})
	slices.SortFunc(all, func(a, b *unstructured.Unstructured) int {
		return cmp.Or(cmp.Compare(a.GetName(), b.GetName()), cmp.Compare(a.GetNamespace(), b.GetNamespace()))
	})
	return factOf(nil, all, err)
}

func factOf(o *unstructured.Unstructured, all []*unstructured.Unstructured, err error) model.Fact {
	switch {
	case apierrors.IsNotFound(err):
		return model.Fact{State: model.Absent}
	case apierrors.IsForbidden(err):
		return model.Fact{State: model.Forbidden, Message: err.Error()}
	case err != nil:
		return model.Fact{State: model.Failed, Message: err.Error()}
	}
	return model.Fact{State: model.Present, Object: o, Objects: all}
}

// Validate compiles an Application as the control loop will.
func (w *world) Validate(ctx context.Context, app *unstructured.Unstructured) error {
	var findings []model.Finding
	_, err := w.facts(ctx, func(facts model.Facts) ([]model.Need, error) {
		_, needs, found, err := w.Dialect.Compile(app, facts, w.Settings)
		findings = found
		return needs, err
	})
	if err != nil {
		return err
	}
	for _, f := range findings {
		if f.Severity == model.Refused {
			return &model.Fault{Reason: "InvalidSpecError", Message: f.Origin.Field + ": " + f.Message, Origin: f.Origin}
		}
	}
	return nil
}

// Generate expands an ApplicationSet.
func (w *world) Generate(ctx context.Context, set *unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	facts, err := w.facts(ctx, func(facts model.Facts) ([]model.Need, error) {
		_, needs, _, err := w.Dialect.Compile(set, facts, w.Settings)
		return needs, err
	})
	if err != nil {
		return nil, err
	}
	answers := map[string]model.Answer{}
	for range maxRounds {
		made, open, _, err := w.Dialect.Expand(set, facts, answers, w.Settings)
		if err != nil {
			return nil, err
		}
		if len(open) == 0 {
			out := make([]*unstructured.Unstructured, 0, len(made))
			for i := range made {
				o := &unstructured.Unstructured{}
				if err := o.UnmarshalJSON(made[i].JSON); err != nil {
					return nil, fmt.Errorf("a generated Application cannot be read: %w", err)
				}
				out = append(out, o)
			}
			return out, nil
		}
		for _, q := range open {
			if w.Answer == nil {
				return nil, &model.Fault{Reason: "ErrorOccurred", Message: fmt.Sprintf("the generator at %s asks outside, which is not done for a preview", q.Origin.Field), Advice: "preview the set with plumb build"}
			}
			answer, err := w.ask(ctx, q)
			if err != nil {
				return nil, err
			}
			answers[q.Key] = answer
		}
	}
	return nil, &model.Fault{Reason: "ErrorOccurred", Message: fmt.Sprintf("the generators ask for more than %d rounds of answers", maxRounds), Advice: "nest fewer generators"}
}

// ask finds the answer to a question outside.
func (w *world) ask(ctx context.Context, q model.Question) (model.Answer, error) {
	leave, err := w.enter(ctx)
	if err != nil {
		return model.Answer{}, err
	}
	defer leave()
	return w.Answer(ctx, q)
}

// Reach tries to read a Git repository with what a Secret of it holds, and else
// with the credentials of its prefix, as an Application would.
func (w *world) Reach(ctx context.Context, secret *unstructured.Unstructured) error {
	values := decoded(secret)
	if w.Options.Reach == nil || values["type"] != "" && values["type"] != "git" || repository.InRegistry(values["url"]) {
		return argocd.ErrNotLooked
	}
	namespace := secret.GetNamespace()
	var source model.Source
	_, err := w.facts(ctx, func(facts model.Facts) ([]model.Need, error) {
		registered(facts, namespace, secret)
		found, needs, err := repository.Source(facts, namespace, values["url"], "", values["project"])
		source = found
		return needs, err
	})
	if err != nil {
		return err
	}
	leave, err := w.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	return w.Options.Reach(ctx, source)
}

// registered puts a Secret among those that are known, in the place of one of the
// same address and project.
func registered(facts model.Facts, namespace string, secret *unstructured.Unstructured) {
	need := repository.Secrets(namespace, "repository")
	known, ok := facts[need]
	if !ok || known.State != model.Present || slices.Contains(known.Objects, secret) {
		return
	}
	values := decoded(secret)
	others := slices.DeleteFunc(slices.Clone(known.Objects), func(o *unstructured.Unstructured) bool {
		other := decoded(o)
		return repository.Same(other["url"], values["url"]) && other["project"] == values["project"]
	})
	known.Objects = append(others, secret)
	facts[need] = known
}

// decoded is what a Secret holds.
func decoded(secret *unstructured.Unstructured) map[string]string {
	out := map[string]string{}
	data, _, _ := unstructured.NestedStringMap(secret.Object, "data")
	for name, value := range data {
		if raw, err := base64.StdEncoding.DecodeString(value); err == nil {
			out[name] = string(raw)
		}
	}
	return out
}
