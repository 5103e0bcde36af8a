package health

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

var update = flag.Bool("update", false, "write the health that was found into the cases, for review")

// expectation is the header of a case: comment lines at its start.
//
//	# state: InProgress
//	# reason: LessReady
//	# message: 1 of 3 replicas ready
//	# kstatus: Current        what kstatus says of it; the same as state when left out
//	# differs: why that is not what we say
type expectation struct {
	state, reason, message, kstatus, differs string
	body                                     []byte
}

func readCase(t *testing.T, path string) expectation {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var e expectation
	known := map[string]*string{"state": &e.state, "reason": &e.reason, "message": &e.message, "kstatus": &e.kstatus, "differs": &e.differs}
	rest := data
	for {
		line, after, _ := bytes.Cut(rest, []byte("\n"))
		comment, ok := strings.CutPrefix(string(line), "# ")
		if !ok {
			break
		}
		key, value, _ := strings.Cut(comment, ": ")
		field, ok := known[key]
		if !ok {
			t.Fatalf("%s: unknown header %q", path, key)
		}
		*field, rest = value, after
	}
	e.body = rest
	return e
}

func (e expectation) write(t *testing.T, path string, found model.Health) {
	t.Helper()
	var b bytes.Buffer
	fmt.Fprintf(&b, "# state: %s\n# reason: %s\n# message: %s\n", found.State, found.Reason, found.Message)
	if e.kstatus != "" {
		fmt.Fprintf(&b, "# kstatus: %s\n", e.kstatus)
	}
	if e.differs != "" {
		fmt.Fprintf(&b, "# differs: %s\n", e.differs)
	}
	b.Write(e.body)
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// judgeCase judges the objects of a case: the first alone, or with the others
// as its children.
func judgeCase(t *testing.T, path string, body []byte) model.Health {
	t.Helper()
	decoded, err := object.Decode(body, path, object.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if len(decoded) == 0 {
		t.Fatalf("%s holds no object", path)
	}
	if len(decoded) == 1 {
		return Of(decoded[0].Object)
	}
	var children []*unstructured.Unstructured
	for _, child := range decoded[1:] {
		children = append(children, child.Object)
	}
	return Deeper(decoded[0].Object, children)
}

func TestCases(t *testing.T) {
	covered := map[string]bool{}
	err := filepath.WalkDir("testdata", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && path == filepath.FromSlash(assessCases) {
			return fs.SkipDir
		}
		if err != nil || entry.IsDir() {
			return err
		}
		kind, name := filepath.Split(path)
		kind = filepath.Base(kind)
		covered[kind] = true
		t.Run(kind+"/"+strings.TrimSuffix(name, ".yaml"), func(t *testing.T) {
			e := readCase(t, path)
			if e.state == "" {
				t.Fatalf("%s does not say which health is expected", path)
			}
			found := judgeCase(t, path, e.body)
			if *update {
				if string(found.State) != e.state {
					t.Errorf("the state is %s, expected %s: change it by hand if that is right", found.State, e.state)
				}
				e.write(t, path, found)
				return
			}
			want := model.Health{State: model.Healthiness(e.state), Reason: e.reason, Message: e.message}
			if found != want {
				t.Errorf("got  %+v\nwant %+v", found, want)
			}
			if (e.kstatus != "" && e.kstatus != e.state) != (e.differs != "") {
				t.Errorf("kstatus says %q: headers kstatus and differs go together", e.kstatus)
			}
			if strings.Contains(found.Message, "hunter2") {
				t.Errorf("what a container wrote is repeated: %s", found.Message)
			}
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for kind := range rules {
		directory := strings.ToLower(kind.Kind)
		if strings.HasSuffix(kind.Group, "fluxcd.io") || kind.Group == "fluxcd.controlplane.io" {
			directory = "flux"
		}
		if directory == "secret" || directory == "configmap" {
			directory = "generic"
		}
		if !covered[directory] {
			t.Errorf("no case for %s under testdata/%s", kind, directory)
		}
	}
}

func TestOfNothing(t *testing.T) {
	for _, o := range []*unstructured.Unstructured{nil, {}} {
		if got := Of(o); got.State != model.NotFound {
			t.Errorf("got %+v", got)
		}
	}
}

// FuzzOf looks for panics on objects of any shape.
func FuzzOf(f *testing.F) {
	f.Add("apps/v1", "Deployment", []byte(`{"conditions":[{"type":"Progressing"}]}`), []byte(`{"replicas":1}`))
	f.Add("v1", "Pod", []byte(`{"phase":"Running","containerStatuses":[{"state":{"waiting":{"reason":"CrashLoopBackOff"}}}]}`), []byte(`{}`))
	f.Add("v1", "Namespace", []byte(`{"phase":"Terminating"}`), []byte(`null`))
	f.Fuzz(func(t *testing.T, version, kind string, status, spec []byte) {
		var u unstructured.Unstructured
		if u.UnmarshalJSON([]byte(`{"apiVersion":"x","kind":"x","metadata":{"name":"a"},"status":`+string(status)+`,"spec":`+string(spec)+`}`)) != nil {
			return
		}
		u.SetAPIVersion(version)
		u.SetKind(kind)
		pod := u.DeepCopy()
		pod.SetAPIVersion("v1")
		pod.SetKind("Pod")
		for _, health := range []model.Health{Of(&u), Deeper(&u, []*unstructured.Unstructured{pod, &u, nil})} {
			if health.State == "" || health.Reason == "" || health.Message == "" {
				t.Errorf("an empty answer: %+v", health)
			}
		}
	})
}
