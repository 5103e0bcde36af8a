package release

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"helm.sh/helm/v4/pkg/chart/common"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	rcommon "helm.sh/helm/v4/pkg/release/common"
	rspb "helm.sh/helm/v4/pkg/release/v1"

	"plumb.dev/plumb/internal/helm"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

var moment = time.Date(2026, 3, 4, 5, 6, 7, 89, time.UTC)

// canary must not be seen in anything that is printed.
const canary = "hunter2-canary"

func files() map[string][]byte {
	return map[string][]byte{
		"Chart.yaml":                []byte("apiVersion: v2\nname: web\nversion: 1.2.3\nappVersion: \"7\"\ndependencies:\n- name: db\n  version: 1.x.x\n"),
		"values.yaml":               []byte("replicas: 1\n"),
		"values.schema.json":        []byte(`{"type":"object"}`),
		"templates/cm.yaml":         []byte("kind: ConfigMap"),
		"templates/NOTES.txt":       []byte("hello"),
		"README.md":                 []byte("# web"),
		".helmignore":               []byte("secret/\n*.bak\n"),
		"secret/key":                []byte("ignored"),
		"old.bak":                   []byte("ignored"),
		"charts/db/Chart.yaml":      []byte("apiVersion: v2\nname: db\nversion: 1.0.0\n"),
		"charts/db/templates/x.yml": []byte("kind: Service"),
	}
}

func rendered(kind, name, file, annotations, data string) model.Rendered {
	text := fmt.Sprintf(`{"apiVersion":"v1","kind":%q,"metadata":{"annotations":{%s},"name":%q},"data":{"a":%q}}`, kind, annotations, name, data)
	return model.Rendered{ID: object.ID{Kind: kind, Namespace: "apps", Name: name}, JSON: []byte(text), Origin: model.Origin{File: file}}
}

func content(t testing.TB) *Content {
	t.Helper()
	c, err := LoadChart(files(), "")
	if err != nil {
		t.Fatal(err)
	}
	crd := rendered("CustomResourceDefinition", "crd", "crds/a.yaml", "", "")
	crd.CRD = true
	return &Content{
		Chart: c, Config: map[string]any{"replicas": 3, "password": canary, "big": 1e21},
		Objects: []model.Rendered{
			crd,
			rendered("ConfigMap", "one", "chart/templates/cm.yaml", "", "---\nx: |\n  "+canary),
			rendered("Secret", "two", "chart/charts/db/templates/x.yml", "", base64.StdEncoding.EncodeToString([]byte(canary))),
		},
		Hooks: []model.Rendered{
			rendered("Job", "migrate", "chart/templates/job.yaml", `"helm.sh/hook":"pre-install, pre-upgrade","helm.sh/hook-weight":"-5","helm.sh/hook-delete-policy":"hook-succeeded"`, canary),
			rendered("Pod", "check", "chart/templates/test.yaml", `"helm.sh/hook":"test-success"`, ""),
			rendered("Pod", "odd", "chart/templates/odd.yaml", `"helm.sh/hook":"crd-install"`, ""),
		},
		Notes: "the password is " + canary, Dir: "chart", ServerSide: true, By: "flux-system/web",
	}
}

func install(t testing.TB) *Record {
	t.Helper()
	r, err := New(helm.Install, &model.Release{Name: "web", Namespace: "apps"}, content(t), nil, nil, moment)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// byHelm decodes as the drivers of Helm 3 and 4 do, without bounds.
func byHelm(t *testing.T, payload []byte) *rspb.Release {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(string(payload))
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	z.Multistream(false) // one member is all that Helm's readers elsewhere may understand
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	var r rspb.Release
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	return &r
}

// asHelm encodes as the drivers of Helm do.
func asHelm(t testing.TB, r *rspb.Release) []byte {
	t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err == nil {
		_, err = z.Write(text)
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return []byte(base64.StdEncoding.EncodeToString(out.Bytes()))
}

func TestHelmReadsOurRecords(t *testing.T) {
	c := NewCodec(1 << 20)
	payload, err := c.Encode(install(t))
	if err != nil {
		t.Fatal(err)
	}
	r := byHelm(t, payload)
	if r.Name != "web" || r.Namespace != "apps" || r.Version != 1 || r.ApplyMethod != "ssa" {
		t.Errorf("release %s/%s.v%d %s", r.Namespace, r.Name, r.Version, r.ApplyMethod)
	}
	if r.Info.Status != rcommon.StatusPendingInstall || r.Info.Description != "Initial install underway" || !r.Info.FirstDeployed.Equal(moment) || !strings.Contains(r.Info.Notes, canary) {
		t.Errorf("info %+v", r.Info)
	}
	if r.Chart.Metadata.Version != "1.2.3" || string(r.Chart.Schema) != `{"type":"object"}` || r.Chart.Values["replicas"] != 1.0 || len(r.Chart.Templates) != 2 {
		t.Errorf("chart %+v", r.Chart)
	}
	for _, f := range r.Chart.Files {
		if strings.Contains(string(f.Data), "ignored") || strings.HasPrefix(f.Name, "charts/") {
			t.Errorf("file %s is in the record", f.Name)
		}
	}
	if r.Config["replicas"] != 3.0 || r.Config["password"] != canary {
		t.Errorf("config %v", r.Config)
	}
	for _, part := range []string{"---\n# Source: web/templates/cm.yaml\napiVersion: v1\n", "---\n# Source: web/charts/db/templates/x.yml\napiVersion: v1\n"} {
		if !strings.Contains(r.Manifest, part) {
			t.Errorf("manifest lacks %q:\n%s", part, r.Manifest)
		}
	}
	if strings.Contains(r.Manifest, "CustomResourceDefinition") {
		t.Error("the manifest has a CRD of the directory crds")
	}
	want := []*rspb.Hook{
		{
			Name: "migrate", Kind: "Job", Path: "web/templates/job.yaml", Weight: -5, DeletePolicies: []rspb.HookDeletePolicy{rspb.HookSucceeded},
			Events: []rspb.HookEvent{rspb.HookPreInstall, rspb.HookPreUpgrade},
		},
		{
			Name: "check", Kind: "Pod", Path: "web/templates/test.yaml", DeletePolicies: []rspb.HookDeletePolicy{rspb.HookBeforeHookCreation},
			Events: []rspb.HookEvent{rspb.HookTest},
		},
	}
	if len(r.Hooks) != len(want) {
		t.Fatalf("%d hooks", len(r.Hooks))
	}
	for i, h := range r.Hooks {
		want[i].Manifest = h.Manifest
		if !reflect.DeepEqual(h, want[i]) || !strings.HasPrefix(h.Manifest, "apiVersion: v1\n") {
			t.Errorf("hook %+v", h)
		}
	}
}

func TestWeReadHelmsRecords(t *testing.T) {
	c := NewCodec(1 << 20)
	theirs := rspb.Mock(&rspb.MockReleaseOptions{Name: "theirs", Namespace: "apps", Version: 4, Status: rcommon.StatusSuperseded})
	theirs.Config = map[string]any{"a": 1.5}
	r, err := c.Decode(asHelm(t, theirs))
	if err != nil {
		t.Fatal(err)
	}
	if r.Name != "theirs" || r.Version != 4 || r.Info.Status != rcommon.StatusSuperseded || r.Chart.Metadata().Name != theirs.Chart.Metadata.Name || len(r.Hooks) != len(theirs.Hooks) {
		t.Errorf("read %+v", r.Info)
	}
	// Written again, it is the same to Helm.
	payload, err := c.Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	again, before := byHelm(t, payload), byHelm(t, asHelm(t, theirs))
	if !reflect.DeepEqual(again, before) {
		t.Errorf("a record that is written again is another one:\n%+v\n%+v", again, before)
	}
	// What Helm 3 wrote before it compressed, with times that are empty.
	text := `{"name":"old","info":{"first_deployed":"","status":"deployed"},"chart":null,"version":1,"namespace":"apps","hooks":[null,{"name":"h","last_run":{"started_at":"","phase":""}}]}`
	old, err := c.Decode([]byte(base64.StdEncoding.EncodeToString([]byte(text))))
	if err != nil || old.Info.Status != rcommon.StatusDeployed || len(old.Hooks) != 1 {
		t.Errorf("an old record: %v %v", old, err)
	}
	if _, err := c.Encode(old); err != nil {
		t.Errorf("an old record cannot be written: %v", err)
	}
}

func TestSecretsRoundTrip(t *testing.T) {
	c := NewCodec(1 << 20)
	r := install(t)
	r.Labels = map[string]string{"team": "a", "status": "forged"}
	secret, err := c.Secret(r, "store", moment)
	if err != nil {
		t.Fatal(err)
	}
	if secret.GetName() != "sh.helm.release.v1.web.v1" || secret.GetNamespace() != "store" || secret.Object["type"] != SecretType {
		t.Errorf("%s/%s of type %v", secret.GetNamespace(), secret.GetName(), secret.Object["type"])
	}
	want := map[string]string{"name": "web", "owner": "helm", "status": "pending-install", "version": "1", "createdAt": "1772600767", "team": "a"}
	if !reflect.DeepEqual(secret.GetLabels(), want) {
		t.Errorf("labels %v", secret.GetLabels())
	}
	read, err := c.Read(secret)
	if err != nil {
		t.Fatal(err)
	}
	if read.Action != helm.Install || read.By != "flux-system/web" || read.Labels["team"] != "a" || len(read.Labels) != 1 {
		t.Errorf("read %s by %s for %s, labels %v", read, read.Action, read.By, read.Labels)
	}
	if a, b := Observe(r, "", ""), Observe(read, "", ""); a != b || len(a) != 71 {
		t.Errorf("the digest is %s before it is stored and %s after", a, b)
	}
	read.Succeed()
	later, err := c.Secret(read, "store", moment.Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if got := later.GetLabels(); got["createdAt"] != "1772600767" || got["modifiedAt"] != "1772600827" || got["status"] != "deployed" {
		t.Errorf("labels %v", got)
	}
	// Helm has written it since: it is not ours any more.
	later.SetAnnotations(nil)
	if read, err = c.Read(later); err != nil || read.Action != "" || read.By != "" {
		t.Errorf("read %v by %q, %v", read, read.Action, err)
	}
	later.SetName("sh.helm.release.v1.web.v2")
	if _, err := c.Read(later); err == nil || !strings.Contains(err.Error(), "it holds apps/web.v1") {
		t.Errorf("a Secret of another name: %v", err)
	}
}

func TestHostileRecords(t *testing.T) {
	c := NewCodec(1 << 20)
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	zeros := make([]byte, 1<<20)
	for range maxRecord>>20 + 1 {
		if _, err := z.Write(zeros); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for name, payload := range map[string][]byte{
		"no base64":    []byte("%%%"),
		"no JSON":      []byte(base64.StdEncoding.EncodeToString([]byte(canary))),
		"broken gzip":  []byte(base64.StdEncoding.EncodeToString([]byte{0x1f, 0x8b, 8, 0, 1, 2})),
		"no revision":  []byte(base64.StdEncoding.EncodeToString([]byte(`{"name":"x","info":{},"version":0}`))),
		"a bad chart":  []byte(base64.StdEncoding.EncodeToString([]byte(`{"name":"x","info":{},"version":1,"chart":{"metadata":"` + canary + `"}}`))),
		"a bomb":       []byte(base64.StdEncoding.EncodeToString(bomb.Bytes())),
		"nothing":      nil,
		"far too much": make([]byte, 2*MaxPayload+1),
	} {
		r, err := c.Decode(payload)
		if err == nil {
			t.Errorf("%s: read %s", name, r)
		} else if strings.Contains(err.Error(), canary) {
			t.Errorf("%s: the error tells the content: %v", name, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"name":"x","info":{"status":"deployed"},"version":1,"chart":{"metadata":{"name":"c"}},"manifest":"---\nkind: A\n"}`))
	f.Add([]byte{0x1f, 0x8b, 8, 0})
	f.Fuzz(func(t *testing.T, raw []byte) {
		c := NewCodec(1 << 16)
		r, err := c.Decode([]byte(base64.StdEncoding.EncodeToString(raw)))
		if err != nil {
			return
		}
		if _, err := r.Objects(); err == nil {
			_ = r.Tests(nil)
		}
		payload, err := c.Encode(r)
		if err != nil {
			t.Fatal(err)
		}
		again, err := c.Decode(payload)
		if err != nil {
			t.Fatal(err)
		}
		if Observe(r, "", "") != Observe(again, "", "") {
			t.Errorf("the digest changes when %q is written again", raw)
		}
	})
}

func TestRecordsDoNotPrint(t *testing.T) {
	r := install(t)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, value := range []any{r, r.Chart, []*Record{r}, struct{ R *Record }{r}} {
			if text := fmt.Sprintf(verb, value); strings.Contains(text, canary) {
				t.Errorf("%s of %T prints %s", verb, value, text)
			}
		}
	}
	if _, err := json.Marshal(r); err == nil {
		t.Error("a record can be serialised")
	}
}

func TestRecordsThatDoNotFit(t *testing.T) {
	noise := func(n int) []byte { // that does not compress
		out := make([]byte, 0, n)
		for x := uint64(88172645463325252); len(out) < n; {
			x ^= x << 13
			x ^= x >> 7
			x ^= x << 17
			out = append(out, byte(x), byte(x>>8), byte(x>>16))
		}
		return out
	}
	c, r := NewCodec(1<<20), install(t)
	big, err := NewChart(&chart.Chart{Metadata: &chart.Metadata{Name: "web", Version: "1"}, Files: []*common.File{{Name: "x", Data: noise(1 << 20)}}}, "2")
	if err != nil || big.String() != "web@2" {
		t.Fatal(big, err)
	}
	r.Chart = big
	_, err = c.Encode(r)
	var fault *model.Fault
	if !errors.As(err, &fault) || fault.Reason != "ReleaseTooLarge" || fault.Advice == "" {
		t.Errorf("a record that is too large: %v", err)
	}
	// What only fits when it is compressed well is compressed well.
	r = install(t)
	begin, err := r.Chart.pack()
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Fields("apiVersion kind metadata name namespace labels annotations spec replicas selector template containers image ports env value")
	order := noise(1 << 20)
	line := func(i int) string { // that packs the better the longer one looks
		i = i * 8 % len(order)
		return words[order[i]&15] + words[order[i+1]&15] + words[order[i+2]&15] + words[order[i+3]&15] + words[order[i+4]&15] + "\n"
	}
	for i, quick, lines := 0, 0, 120000; quick <= MaxPayload; lines = 6000 {
		var more strings.Builder
		for range lines {
			more.WriteString(line(i))
			i++
		}
		r.Manifest += more.String()
		rest, err := json.Marshal(&body{Name: r.Name, Manifest: r.Manifest})
		if err != nil {
			t.Fatal(err)
		}
		payload, err := fast(begin, rest[1:])
		if err != nil {
			t.Fatal(err)
		}
		quick = len(payload)
	}
	payload, err := c.Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	if byHelm(t, payload).Manifest != r.Manifest {
		t.Error("the manifest is another one")
	}
}

func TestChartsAreShared(t *testing.T) {
	c := NewCodec(1 << 20)
	loads := 0
	load := func() (*Chart, error) { loads++; return LoadChart(files(), "") }
	one, err := c.Chart("tree", load)
	if err != nil {
		t.Fatal(err)
	}
	two, err := c.Chart("tree", load)
	if err != nil || one != two || loads != 1 {
		t.Errorf("loaded %d times, %v", loads, err)
	}
	r := install(t)
	r.Chart = one
	payload, err := c.Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	read, err := c.Decode(payload)
	if err != nil || read.Chart != one {
		t.Errorf("the chart of a record that was read is not shared: %v", err)
	}
	small := NewCodec(1)
	for i := range 10 {
		if _, err := small.Chart(fmt.Sprint(i), load); err != nil {
			t.Fatal(err)
		}
	}
	if small.used.Len() != 1 || len(small.known) != 1 {
		t.Errorf("%d charts are remembered beyond the budget", small.used.Len())
	}
	if _, err := c.Chart("broken", func() (*Chart, error) { return nil, errRecord }); !errors.Is(err, errRecord) {
		t.Errorf("a chart that cannot be loaded: %v", err)
	}
}

func TestObjectsOfARecord(t *testing.T) {
	r := install(t)
	objects, err := r.Objects()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range objects {
		var head struct {
			Kind     string
			Metadata struct{ Name string }
			Data     map[string]string
		}
		if err := json.Unmarshal(o.JSON, &head); err != nil {
			t.Fatal(err)
		}
		hook := ""
		if o.Hook != nil {
			hook = " hook"
		}
		if head.Metadata.Name == "one" && head.Data["a"] != "---\nx: |\n  "+canary {
			t.Errorf("data %q", head.Data["a"])
		}
		got = append(got, o.Template+" "+head.Kind+"/"+head.Metadata.Name+hook)
	}
	want := []string{"web/templates/cm.yaml ConfigMap/one", "web/charts/db/templates/x.yml Secret/two", "web/templates/job.yaml Job/migrate hook", "web/templates/test.yaml Pod/check hook"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("objects %q", got)
	}
	r.Manifest = "---\nkind: A # " + canary + "\n b: [\n"
	if _, err := r.Objects(); err == nil || strings.Contains(err.Error(), canary) {
		t.Errorf("a broken manifest: %v", err)
	}
}

func TestLifeOfARecord(t *testing.T) {
	one := install(t)
	one.Ran("Job", "migrate", moment, moment.Add(time.Second), false)
	one.Ran("Pod", "check", moment, moment.Add(time.Second), true)
	one.Succeed()
	if one.Info.Status != rcommon.StatusDeployed || one.Info.Description != "Install complete" || one.Hooks[0].LastRun.Phase != rspb.HookPhaseSucceeded {
		t.Errorf("%+v %+v", one.Info, one.Hooks[0].LastRun)
	}
	if tests := one.Tests(nil); len(tests) != 1 || tests["check"].Phase != "Failed" {
		t.Errorf("tests %v", tests)
	}
	if tests := one.Tests([]model.TestFilter{{Name: "check", Exclude: true}}); tests == nil || len(tests) != 0 {
		t.Errorf("tests that are left out: %v", tests)
	}
	later := moment.Add(time.Hour)
	two, err := New(helm.Upgrade, &model.Release{Name: "web", Namespace: "apps"}, content(t), one, nil, later)
	if err != nil {
		t.Fatal(err)
	}
	if two.Version != 2 || two.Info.Status != rcommon.StatusPendingUpgrade || !two.Info.FirstDeployed.Equal(moment) || !two.Info.LastDeployed.Equal(later) {
		t.Errorf("%+v", two.Info)
	}
	two.Fail("the server said no")
	if two.Info.Status != rcommon.StatusFailed || two.Info.Description != `Upgrade "web" failed: the server said no` {
		t.Errorf("%+v", two.Info)
	}
	three := Back(two, one, "ns/name", ServerSide("auto", one), later)
	if three.Version != 3 || three.Info.RollbackRevision != 1 || three.Info.Description != "Rollback to 1" || three.Manifest != one.Manifest || three.ApplyMethod != "ssa" {
		t.Errorf("%+v", three.Info)
	}
	three.Ran("Job", "migrate", later, time.Time{}, false)
	if one.Hooks[0].LastRun.Phase != rspb.HookPhaseSucceeded || three.Hooks[0].LastRun.Phase != rspb.HookPhaseRunning {
		t.Error("records share hooks")
	}
	four := Back(three, one, "ns/name", false, later)
	four.Unlock()
	if four.Info.Status != rcommon.StatusFailed || four.Info.Description != "Release unlocked from stale 'pending-rollback' state" {
		t.Errorf("%+v", four.Info)
	}
	three.Uninstall(later)
	three.Uninstall(later.Add(time.Hour))
	if three.Info.Status != rcommon.StatusUninstalling || !three.Info.Deleted.Equal(later) {
		t.Errorf("%+v", three.Info)
	}
	three.Uninstalled()
	if three.Info.Status != rcommon.StatusUninstalled {
		t.Errorf("%+v", three.Info)
	}
	for mode, want := range map[string]bool{"enabled": true, "disabled": false, "": true, "auto": true} {
		if ServerSide(mode, nil) != want {
			t.Errorf("server side of an install in mode %q: %v", mode, !want)
		}
	}
	if ServerSide("auto", four) {
		t.Error("auto does not follow the last record")
	}
}

func TestReuse(t *testing.T) {
	r := install(t)
	r.Config = map[string]any{"password": canary, "nested": map[string]any{"a": 1.0, "b": 2.0}}
	given := map[string]any{"nested": map[string]any{"a": 9}}
	config, defaults, err := Reuse(given, r)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"password": canary, "nested": map[string]any{"a": int64(9), "b": 2.0}} // an integer stays one
	if !reflect.DeepEqual(config, want) || defaults["replicas"] != 1.0 || defaults["password"] != canary {
		t.Errorf("config %v over %v", config, defaults)
	}
	if !reflect.DeepEqual(given, map[string]any{"nested": map[string]any{"a": 9}}) || r.Config["nested"].(map[string]any)["a"] != 1.0 {
		t.Error("the arguments were changed")
	}
	r.Config = config
	again, _, err := Reuse(given, r)
	if err != nil || !reflect.DeepEqual(again, want) {
		t.Errorf("a second time: %v %v", again, err)
	}
}

// BenchmarkEncode shows what a record costs when its chart is shared, beside what
// Helm's drivers do for each.
func BenchmarkEncode(b *testing.B) {
	big := files()
	for i := range 60 {
		big[fmt.Sprintf("templates/t%d.yaml", i)] = bytes.Repeat([]byte(fmt.Sprintf("kind: ConfigMap # %d {{ .Values.x }}\n", i*i)), 100)
	}
	c, err := LoadChart(big, "")
	if err != nil {
		b.Fatal(err)
	}
	r := install(b)
	r.Chart = c
	r.Manifest = strings.Repeat(r.Manifest, 20)
	var whole chart.Chart
	if err := json.Unmarshal(c.JSON(), &whole); err != nil {
		b.Fatal(err)
	}
	b.Run("shared", func(b *testing.B) {
		codec := NewCodec(1 << 20)
		for b.Loop() {
			if _, err := codec.Encode(r); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("driver", func(b *testing.B) {
		for b.Loop() {
			asHelm(b, &rspb.Release{Name: r.Name, Info: &r.Info, Chart: &whole, Config: r.Config, Manifest: r.Manifest, Hooks: r.Hooks, Version: 1, Namespace: r.Namespace})
		}
	})
}
