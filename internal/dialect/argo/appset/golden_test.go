package appset

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/dialect/golden"
	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// goldens are the files of testdata.
var goldens = golden.Disk{Glob: filepath.Glob, Read: os.ReadFile, Write: os.WriteFile}

// TestGoldens runs each file of testdata. Above the divider is a txtar archive:
// sets.yaml holds the ApplicationSets, facts.yaml the other objects of the
// cluster, tree/… the files of every repository, and answers.yaml what forges
// and plugins answer. Below stand the deliveries, the questions and the
// Applications.
func TestGoldens(t *testing.T) {
	goldens.Run(t, "*.txt", func(t *testing.T, _, input string) string {
		got := parseScene(t, input).play(t)
		if strings.Contains(got, "hunter") {
			t.Errorf("a secret stands in the output")
		}
		return got
	})
}

// scene is what the input of a golden says.
type scene struct {
	sets     []*unstructured.Unstructured
	objects  []*unstructured.Unstructured
	states   map[string]model.Fact // by need, for facts that are not there
	tree     map[string][]byte
	answers  []scriptedAnswer
	settings dialect.Settings
}

// scriptedAnswer answers the questions whose description contains For.
type scriptedAnswer struct {
	For          string              `json:"for"`
	Fault        string              `json:"fault"`
	Repositories []model.Repository  `json:"repositories"`
	PullRequests []model.PullRequest `json:"pullRequests"`
	Parameters   []map[string]any    `json:"parameters"`
}

func parseScene(t testing.TB, input string) *scene {
	t.Helper()
	s := &scene{tree: map[string][]byte{}, states: map[string]model.Fact{}}
	archive := txtar.Parse([]byte(input))
	for _, line := range strings.Split(string(archive.Comment), "\n") {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "#!" {
			continue
		}
		switch words[1] {
		case "forbidden", "failed":
			s.states[words[2]] = model.Fact{State: model.FactState(words[1]), Message: strings.Join(words[3:], " ")}
		case "namespaces":
			s.settings.ApplicationNamespaces = words[2:]
		default:
			t.Fatalf("unknown stage direction %q", line)
		}
	}
	for _, file := range archive.Files {
		switch {
		case file.Name == "sets.yaml":
			s.sets = objectsIn(t, file.Data)
		case file.Name == "facts.yaml":
			s.objects = objectsIn(t, file.Data)
		case file.Name == "answers.yaml":
			if err := yaml.UnmarshalStrict(file.Data, &s.answers); err != nil {
				t.Fatal(err)
			}
		case strings.HasPrefix(file.Name, "tree/"):
			s.tree[strings.TrimPrefix(file.Name, "tree/")] = file.Data
		default:
			t.Fatalf("what is %s?", file.Name)
		}
	}
	return s
}

func objectsIn(t testing.TB, text []byte) []*unstructured.Unstructured {
	t.Helper()
	var out []*unstructured.Unstructured
	for _, doc := range strings.Split("\n"+string(text), "\n---\n") {
		asJSON, err := yaml.YAMLToJSON([]byte(doc))
		if err != nil {
			t.Fatalf("%v in\n%s", err, doc)
		}
		if string(asJSON) == "null" {
			continue
		}
		o := &unstructured.Unstructured{}
		if err := o.UnmarshalJSON(asJSON); err != nil {
			t.Fatalf("%v in\n%s", err, doc)
		}
		if o.GetNamespace() == "" {
			o.SetNamespace("argocd")
		}
		if plain, ok := o.Object["stringData"].(map[string]any); ok { // as the API server keeps it
			data := map[string]any{}
			for key, value := range plain {
				data[key] = base64.StdEncoding.EncodeToString([]byte(value.(string)))
			}
			o.Object["data"] = data
			delete(o.Object, "stringData")
		}
		out = append(out, o)
	}
	return out
}

// fact answers a need out of the scene.
func (s *scene) fact(need model.Need) model.Fact {
	if fact, ok := s.states[strings.ReplaceAll(need.String(), " ", "")]; ok {
		return fact
	}
	if need.Selector == "" {
		for _, o := range s.objects {
			if o.GetKind() == need.Kind && o.GetNamespace() == need.Namespace && o.GetName() == need.Name {
				return model.Fact{State: model.Present, Object: o}
			}
		}
		return model.Fact{State: model.Absent}
	}
	fact := model.Fact{State: model.Present}
	for _, o := range s.objects {
		plural := strings.ToLower(o.GetKind()) + "s"
		if o.GetNamespace() != need.Namespace || o.GroupVersionKind().Group != need.Group || o.GetKind() != need.Kind && plural != need.Resource {
			continue
		}
		if key, value, found := strings.Cut(need.Selector, "="); found && o.GetLabels()[key] != value {
			continue
		}
		fact.Objects = append(fact.Objects, o)
	}
	slices.SortFunc(fact.Objects, func(a, b *unstructured.Unstructured) int { return strings.Compare(a.GetName(), b.GetName()) })
	return fact
}

// testSource stands for the neighbour that knows repositories.
func testSource(facts model.Facts, namespace, repoURL, revision, project string) (model.Source, []model.Need, error) {
	need := model.Need{Version: "v1", Kind: "Secret", Namespace: namespace, Selector: "argocd.argoproj.io/secret-type=repository"}
	if _, asked := facts[need]; !asked {
		return model.Source{}, []model.Need{need}, nil
	}
	if repoURL == "" {
		return model.Source{}, nil, &model.Fault{Reason: "InvalidSpec", Message: "the repository has no URL"}
	}
	sum := sha256.Sum256([]byte(repoURL + "\n" + revision + "\n" + project))
	return model.Source{
		ID:      object.ID{Group: "plumb.dev", Kind: "Repository", Namespace: namespace, Name: hex.EncodeToString(sum[:4])},
		Git:     &model.GitSource{URL: repoURL, Ref: model.GitRef{Revision: revision}},
		Implied: true,
	}, nil, nil
}

func (s *scene) compile(t testing.TB, set *unstructured.Unstructured, facts model.Facts) (*model.Delivery, []model.Source, []model.Finding, error) {
	t.Helper()
	for range 6 {
		d, sources, needs, findings, err := Room{Source: testSource}.Compile(set, facts, s.settings)
		if len(needs) == 0 {
			return d, sources, findings, err
		}
		for _, need := range needs {
			if _, asked := facts[need]; asked {
				t.Fatalf("%s was asked for twice", need)
			}
			facts[need] = s.fact(need)
		}
	}
	t.Fatal("the needs never end")
	return nil, nil, nil, nil
}

// describe says what a question asks, without secrets.
func describe(q model.Question) string {
	switch {
	case q.Git != nil:
		text := "git " + q.Git.Source.Git.URL + "@" + q.Git.Source.Git.Ref.Revision
		for _, p := range slices.Concat(q.Git.Directories, q.Git.Files) {
			text += " " + map[bool]string{true: "!", false: ""}[p.Exclude] + p.Path
		}
		if q.Git.Greedy && len(q.Git.Files) > 0 {
			text += " (greedy)"
		}
		return text
	case q.Repositories != nil:
		r := *q.Repositories
		shared := "nil"
		if r.SharedGroups != nil {
			shared = fmt.Sprint(*r.SharedGroups)
		}
		r.SharedGroups = nil
		f := r.Forge
		r.Forge = model.Forge{}
		extra := ""
		if r.CodeCommit != nil {
			extra = fmt.Sprintf(" %+v", *r.CodeCommit)
			r.CodeCommit = nil
		}
		return fmt.Sprintf("repositories of %s every %s: %s shared=%s%s", describeForge(f), q.Requeue, rest(r), shared, extra)
	case q.PullRequests != nil:
		r := *q.PullRequests
		f := r.Forge
		r.Forge = model.Forge{}
		return fmt.Sprintf("pull requests of %s every %s: %s", describeForge(f), q.Requeue, rest(r))
	case q.Plugin != nil:
		text, _ := json.Marshal(q.Plugin.Parameters)
		return fmt.Sprintf("plugin %s for %s timeout %s every %s token=%t: %s", q.Plugin.BaseURL, q.Plugin.ApplicationSet, q.Plugin.Timeout, q.Requeue, !q.Plugin.Token.IsZero(), text)
	}
	return "?"
}

// rest prints a question without the forge, which is described apart.
func rest(q any) string {
	return strings.Replace(fmt.Sprintf("%+v", q), fmt.Sprintf("Forge:%+v ", model.Forge{}), "", 1)
}

func describeForge(f model.Forge) string {
	text := fmt.Sprintf("%s api=%q owner=%q project=%q", f.Kind, f.API, f.Owner, f.Project)
	c := f.Credential
	if !c.Token.IsZero() {
		text += " token"
	}
	if c.Username != "" {
		text += fmt.Sprintf(" user=%q password=%t", c.Username, !c.Password.IsZero())
	}
	if c.App != nil {
		text += " app=" + c.App.AppID + "/" + c.App.InstallationID
	}
	if c.CA != nil {
		text += " ca"
	}
	if c.Insecure {
		text += " insecure"
	}
	return text
}

// answer plays the engine.
func (s *scene) answer(t testing.TB, q model.Question) model.Answer {
	t.Helper()
	description := describe(q)
	for _, scripted := range s.answers {
		if !strings.Contains(description, scripted.For) {
			continue
		}
		if scripted.Fault != "" {
			return model.Answer{Fault: &model.Fault{Reason: "Failed", Message: scripted.Fault, Retry: true}}
		}
		return model.Answer{Repositories: scripted.Repositories, PullRequests: scripted.PullRequests, Parameters: scripted.Parameters}
	}
	if q.Git == nil {
		t.Fatalf("nobody answers %q", description)
	}
	answer := model.Answer{}
	dirs := map[string]bool{}
	for _, name := range reader.SortedKeys(s.tree) {
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			dirs[dir] = true
		}
		include := false
		for _, p := range q.Git.Files {
			if globbed(p.Path, q.Git.Greedy).MatchString(name) {
				include = !p.Exclude
				if p.Exclude {
					break
				}
			}
		}
		if include {
			answer.Files = append(answer.Files, model.TreeFile{Path: name, Content: s.tree[name]})
		}
	}
	if len(q.Git.Directories) > 0 {
		answer.Directories = reader.SortedKeys(dirs)
	}
	return answer
}

func globbed(pattern string, greedy bool) *regexp.Regexp {
	text := regexp.QuoteMeta(pattern)
	text = strings.ReplaceAll(text, `\*\*/`, `(.*/)?`)
	star := `[^/]*`
	if greedy {
		star = `.*`
	}
	return regexp.MustCompile("^" + strings.ReplaceAll(text, `\*`, star) + "$")
}

// play prints what becomes of every set.
func (s *scene) play(t testing.TB) string {
	t.Helper()
	var out strings.Builder
	for _, set := range s.sets {
		fmt.Fprintf(&out, "%s\n", object.Of(set))
		facts := model.Facts{}
		d, sources, findings, err := s.compile(t, set, facts)
		printFindings(&out, findings)
		if err != nil {
			printFault(t, &out, err)
			continue
		}
		printDelivery(&out, d, sources)
		if d.Deleting {
			continue
		}
		apps, findings, err := s.expand(t, &out, set, facts)
		printFindings(&out, findings)
		if err != nil {
			printFault(t, &out, err)
			continue
		}
		for _, app := range apps {
			text, err := yaml.JSONToYAML(app.JSON)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&out, "--- by %s\n%s", app.Origin.Field, text)
		}
	}
	return out.String()
}

// expand asks until nothing is open.
func (s *scene) expand(t testing.TB, out *strings.Builder, set *unstructured.Unstructured, facts model.Facts) ([]model.Rendered, []model.Finding, error) {
	t.Helper()
	answers := map[string]model.Answer{}
	for range 6 {
		apps, questions, findings, err := Room{Source: testSource}.Expand(set, facts, answers, s.settings)
		if err != nil || len(questions) == 0 {
			return apps, findings, err
		}
		for _, q := range questions {
			if _, twice := answers[q.Key]; twice {
				t.Fatalf("%s was asked twice", describe(q))
			}
			fmt.Fprintf(out, "  asks %s\n", describe(q))
			answers[q.Key] = s.answer(t, q)
		}
	}
	t.Fatal("the questions never end")
	return nil, nil, nil
}

func printFindings(out *strings.Builder, findings []model.Finding) {
	for _, f := range findings {
		fmt.Fprintf(out, "  finding %s %s %s: %s\n", f.Severity, f.Reason, f.Origin.Field, f.Message)
	}
}

func printFault(t testing.TB, out *strings.Builder, err error) {
	t.Helper()
	var fault *model.Fault
	if !errors.As(err, &fault) {
		t.Fatalf("an error that is no fault: %v", err)
	}
	fmt.Fprintf(out, "  fault %s at %s (retry %t, waiting %t)\n    %s\n", fault.Reason, fault.Origin.Field, fault.Retry, fault.Waiting, fault.Error())
}

// printDelivery prints what differs from set to set.
func printDelivery(out *strings.Builder, d *model.Delivery, sources []model.Source) {
	for i, in := range d.Inputs {
		fmt.Fprintf(out, "  reads %s@%s as %s\n", in.URL, sources[i].Git.Ref.Revision, in.Render.Kind)
	}
	p := d.Policy
	if !p.Prune || p.CreateOnly || p.OnDelete != model.DeleteObjects {
		fmt.Fprintf(out, "  policy prune=%t createOnly=%t onDelete=%s\n", p.Prune, p.CreateOnly, p.OnDelete)
	}
	if p.Interval != 0 {
		fmt.Fprintf(out, "  every %s\n", p.Interval)
	}
	for _, rule := range p.Ignore {
		if len(rule.Paths) > len(preservedAnnotations) || rule.Origin.Field != "spec.preservedFields" {
			fmt.Fprintf(out, "  ignores %v %v of %q\n", rule.Paths, rule.Queries, rule.Target.Name)
		}
	}
	for _, id := range sortedIDs(p.DeleteSteps) {
		fmt.Fprintf(out, "  deletes %s in step %d\n", id.Name, p.DeleteSteps[id])
	}
	if d.Wake != "" || d.Approve != "" {
		fmt.Fprintf(out, "  wake=%q hard=%t approve=%q\n", d.Wake, d.WakeHard, d.Approve)
	}
	if d.Deleting || d.Finalized {
		fmt.Fprintf(out, "  deleting=%t finalized=%t\n", d.Deleting, d.Finalized)
	}
	for _, claim := range d.Claims {
		fmt.Fprintf(out, "  owns %s\n", claim.ID)
	}
}

func sortedIDs(m map[object.ID]int) []object.ID {
	var out []object.ID
	for id := range m {
		out = append(out, id)
	}
	slices.SortFunc(out, func(a, b object.ID) int { return strings.Compare(a.Name, b.Name) })
	return out
}
