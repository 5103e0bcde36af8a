package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fleet is a repository with everything: what brings what, what is missing, what
// is encrypted, what is wrong, and what nobody reads.
func fleet(t *testing.T) string {
	t.Helper()
	kustomization := func(name, path, more string, source ...string) string {
		return "---\napiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: " + name + ", namespace: apps}\n" +
			"spec:\n  interval: 10m\n  path: " + path + "\n  prune: true\n  sourceRef: {kind: GitRepository, name: " + append(source, "flux-system")[0] + "}\n" + more
	}
	release := func(name, chart string) string {
		return "---\napiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: " + name + "}\n" +
			"spec:\n  interval: 10m\n  chart: {spec: {chart: " + chart + ", version: 1.x, sourceRef: {kind: HelmRepository, name: charts}}}\n" +
			"  values: {greeting: \"${greeting}\", token: \"${token}\"}\n"
	}
	return checkout(t, map[string]string{
		".git/config": "[remote \"origin\"]\n\turl = git@git.example.com:team/fleet.git\n",
		"clusters/main/flux.yaml": `apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: flux-system, namespace: apps}
spec: {interval: 1m, url: "https://git.example.com/team/fleet", secretRef: {name: login}}
` + kustomization("root", "./clusters/main", "") + kustomization("web", "./web", "  decryption: {provider: sops, secretRef: {name: keys}}\n  postBuild: {substituteFrom: [{kind: ConfigMap, name: settings}, {kind: Secret, name: by-age}]}\n") +
			kustomization("config", "./config", "") + kustomization("broken", "./nowhere", "") +
			kustomization("crds", "./crds", "", "elsewhere") +
			kustomization("waits", "./config", "  postBuild: {substituteFrom: [{kind: Secret, name: made-later}]}\n"),
		"clusters/main/elsewhere.yaml":     "apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {name: elsewhere, namespace: apps}\nspec: {interval: 1h, url: \"https://git.example.com/other/crds\"}\n",
		"clusters/other/flux.yaml":         kustomization("web", "./other", ""),
		"config/settings.yaml":             "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, namespace: apps}\ndata: {greeting: hello}\n",
		"config/secret.sops.yaml":          sopsExample(t, "secret-age.yaml"),
		"web/kustomization.yaml":           "namespace: shop\nresources: [charts.yaml, web.yaml, absent.yaml]\n",
		"web/charts.yaml":                  "apiVersion: source.toolkit.fluxcd.io/v1\nkind: HelmRepository\nmetadata: {name: charts}\nspec: {interval: 1h, url: \"https://charts.example.com/stable\"}\n",
		"web/web.yaml":                     release("web", "web"),
		"web/absent.yaml":                  release("absent", "absent"),
		"disabled/loose.yaml":              release("loose", "web"),
		"templates/chart/Chart.yaml":       "apiVersion: v2\nname: templates\nversion: 1.0.0\n",
		"templates/chart/templates/x.yaml": release("never", "{{ .Values.chart }}"),
		"notes/values.yaml":                "just: values\n",
		"notes/torn.yaml":                  release("torn", "web") + "  - not: [a mapping\n",
		"other/settings.yaml":              "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other, namespace: apps}\n",
	})
}

// chartsDirectory holds a chart as a clone of a repository of charts has it, and
// another version of one that is asked for.
func chartsDirectory(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{
		"charts/absent/Chart.yaml":             "apiVersion: v2\nname: absent\nversion: 2.0.0\ndependencies: [{name: shared, version: 1.x, repository: file://../shared}]\n",
		"charts/absent/templates/settings.yml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ include \"shared.name\" . }}}\n",
		"charts/absent/.helmignore":            "ignored.yaml\n",
		"charts/absent/templates/ignored.yaml": "{{ fail \"it is ignored\" }}\n",
		"charts/shared/Chart.yaml":             "apiVersion: v2\nname: shared\nversion: 1.1.0\ntype: library\n",
		"charts/shared/templates/_names.tpl":   "{{ define \"shared.name\" }}from-shared{{ end }}\n",
	}
	for name, content := range webChart {
		files["charts/web/"+name] = content
	}
	write(t, dir, files)
	return dir
}

// repositoryTranscript renders a repository without any cluster.
func repositoryTranscript(t *testing.T, dir string, args ...string) string {
	t.Helper()
	f := newFakeAPI(t, "") // nobody asks it
	got := transcript(f, "", append([]string{"build", "--all", dir}, args...)...)
	if len(f.requests) > 0 {
		t.Errorf("a cluster was asked: %v", f.requests)
	}
	return strings.ReplaceAll(got, dir, "DIR")
}

func TestBuildOfARepository(t *testing.T) {
	charts := chartsDirectory(t)
	for name, args := range map[string][]string{
		"repository":             {"--charts", charts},
		"repository-bare":        {"--strict"},
		"repository-any-version": {"--charts", charts, "--any-version", "--from", "clusters/main"},
		"repository-opened":      {"--charts", charts, "--from", "clusters/main", "--sops-age-key", "../secret/sops/testdata/age.agekey"},
		"repository-yaml":        {"--charts", charts, "-o", "yaml"},
		"repository-json":        {"--charts", charts, "-o", "json"},
		"repository-other":       {"--from", "clusters/other"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := strings.ReplaceAll(repositoryTranscript(t, fleet(t), args...), charts, "CHARTS")
			golden(t, name, got)
			if strings.Contains(got, "canary") {
				t.Error("a secret value is shown")
			}
		})
	}
}

// TestBuildOfARepositoryFetches takes charts from where an address is mapped to,
// keeps them, and finds them again without asking anybody.
func TestBuildOfARepositoryFetches(t *testing.T) {
	url, cache, repository := chartsServed(t, webChart), filepath.Join(t.TempDir(), "cache"), fleet(t)
	lineOf := func(args ...string) string {
		got := repositoryTranscript(t, repository, args...)
		for _, line := range strings.Split(got, "\n") {
			if strings.Contains(line, "shop/web ") {
				return strings.Join(strings.Fields(line), " ")
			}
		}
		t.Fatalf("no line about the release in\n%s", got)
		return ""
	}
	if got, want := lineOf(), "HelmRelease shop/web missing 0 chart web@1.x of https://charts.example.com/stable/"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	for _, args := range [][]string{{"--map-url", "https://charts.example.com/stable=" + url, "--cache", cache}, {"--cache", cache}} {
		if got, want := lineOf(args...), "HelmRelease shop/web ok 6"; got != want {
			t.Errorf("%v: %q, want %q", args, got, want)
		}
	}
	kept, err := os.ReadDir(cache)
	if err != nil || len(kept) != 1 || kept[0].Name() != "web-1.0.0.tgz" {
		t.Errorf("the cache holds %v (%v)", kept, err)
	}
}

// TestBuildOfARepositoryMapsDirectories takes another repository from a
// directory.
func TestBuildOfARepositoryMapsDirectories(t *testing.T) {
	other := t.TempDir()
	write(t, other, map[string]string{"crds/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: mapped, namespace: apps}\n"})
	got := repositoryTranscript(t, fleet(t), "--map-url", "https://git.example.com/other="+filepath.Dir(other), "--map-url", "https://git.example.com/other/crds="+other)
	if !strings.Contains(got, "apps/crds") || strings.Contains(got, "Git repository https://git.example.com/other/crds") {
		t.Errorf("it is not mapped:\n%s", got)
	}
}

// TestBuildOfARepositoryOfApplications follows an app of apps, a chart of the
// repository, and what a set generates of its directories.
func TestBuildOfARepositoryOfApplications(t *testing.T) {
	const address = "https://git.example.com/team/fleet.git"
	application := func(name, source string) string {
		return "---\napiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: " + name + ", namespace: argocd}\n" +
			"spec:\n  project: default\n  source: {repoURL: " + source + ", targetRevision: HEAD}\n  destination: {name: in-cluster, namespace: shop}\n"
	}
	settings := func(name string) string { return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + "}\n" }
	dir := checkout(t, map[string]string{
		"apps/root.yaml": application("root", address+", path: apps"),
		"apps/web.yaml": application("web", address+", path: charts/web") +
			application("absent", "https://charts.example.com, chart: absent") + application("gone", "https://git.example.com/other.git, path: ."),
		"apps/set.yaml": "apiVersion: argoproj.io/v1alpha1\nkind: ApplicationSet\nmetadata: {name: set, namespace: argocd}\nspec:\n  goTemplate: true\n" +
			"  generators: [{git: {repoURL: " + address + ", revision: HEAD, directories: [{path: sets/*}]}}]\n  template:\n    metadata: {name: '{{.path.basename}}'}\n" +
			"    spec:\n      project: default\n      source: {repoURL: " + address + ", path: '{{.path.path}}', targetRevision: HEAD}\n      destination: {name: in-cluster, namespace: sets}\n",
		"charts/web/Chart.yaml":         "apiVersion: v2\nname: web\nversion: 1.0.0\n",
		"charts/web/templates/one.yaml": settings("one"),
		"sets/first/a.yaml":             settings("first"),
		"sets/second/a.yaml":            settings("second"),
	})
	golden(t, "repository-applications", repositoryTranscript(t, dir, "--repository", address))
}

func TestBuildOfARepositoryRefuses(t *testing.T) {
	empty := t.TempDir()
	for name, args := range map[string][]string{
		"an empty directory": {"build", "--all", empty},
		"a file":             {"build", "--all", "repository_test.go"},
		"a strange output":   {"build", "--all", empty, "-o", "table"},
		"a half mapping":     {"build", "--all", empty, "--map-url", "https://example.com"},
		"mapping to nowhere": {"build", "--all", empty, "--map-url", "https://example.com=./nowhere"},
		"charts of nowhere":  {"build", "--all", empty, "--charts", "./nowhere"},
		"no key":             {"build", "--all", empty, "--sops-age-key", "./nowhere"},
		"a kind and --all":   {"build", "widget"},
	} {
		if code, _, errs := newFakeAPI(t, "").plumb(args...); code != exitFailed || errs == "" {
			t.Errorf("%s: exit %d, %q", name, code, errs)
		}
	}
}

func TestOwnAddresses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "fleet")
	write(t, dir, map[string]string{"a": ""})
	named, given := originsOf(dir, nil), originsOf(dir, []string{"ssh://git@git.example.com:2222/team/fleet.git"})
	for address, want := range map[string][2]bool{
		"https://git.example.com/team/fleet":           {true, true},
		"git@git.example.com:team/fleet.git":           {true, true},
		"ssh://git@git.example.com/team/fleet":         {true, true},
		"https://me:secret@git.example.com/Team/Fleet": {true, true},
		"oci://ghcr.io/somebody/fleet":                 {true, false},
		"https://git.example.com/team/other":           {false, false},
		"https://git.example.com/fleet/charts":         {false, false},
	} {
		if got := [2]bool{named.own(address), given.own(address)}; got != want {
			t.Errorf("%s: %v, want %v", address, got, want)
		}
	}
}

func TestShelfPicksVersions(t *testing.T) {
	s := newShelf()
	for _, version := range []string{"1.0.0", "1.2.0", "2.0.0", "2.1.0-rc.1"} {
		s.charts = append(s.charts, foundChart{name: "web", version: version})
	}
	for wanted, want := range map[string]string{
		"": "2.0.0", "*": "2.0.0", "1.x": "1.2.0", "v1.0.0": "1.0.0", ">=2.1.0-0": "2.1.0-rc.1", "3.0.0": "", "latest": "",
	} {
		if got, _ := s.find("web", wanted); got.version != want {
			t.Errorf("%q picks %q, want %q", wanted, got.version, want)
		}
	}
	s.anyNumber = true
	if got, ok := s.find("web", "3.0.0"); !ok || got.version != "2.1.0-rc.1" {
		t.Errorf("in its stead: %v", got)
	}
}

// TestPlaceholders stand for what is encrypted, in every format.
func TestPlaceholders(t *testing.T) {
	const sealedText = "ENC[AES256_GCM,data:abc=,iv:def=,tag:ghi=,type:str]"
	number := strings.Replace(sealedText, "str", "int", 1)
	s := &sealed{}
	for _, c := range []struct{ format, content, want string }{
		{"yaml", "a: " + sealedText + "\nb:\n  c:\n  - " + number + "\n  - plain\nsops: {mac: x}\n", "a: placeholder\nb:\n  c:\n  - 1\n  - plain\n"},
		{"json", `{"a":"` + sealedText + `","sops":{}}`, `{"a":"placeholder"}`},
		{"dotenv", "A=" + sealedText + "\nsops_mac=x", "A=placeholder"},
		{"binary", `{"data":"` + sealedText + `"}`, "placeholder"},
	} {
		got, err := s.DecryptFile(t.Context(), "file", []byte(c.content), c.format, c.format)
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %q (%v), want %q", c.format, got, err, c.want)
		}
	}
	got, err := s.DecryptObject(t.Context(), "file", nil, "yaml", []byte(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"login"},"data":{"a":"`+sealedText+`"},"sops":{"mac":"x"}}`))
	if err != nil || !strings.Contains(string(got), base64Of(placeholder)) || strings.Contains(string(got), "sops") {
		t.Errorf("%s (%v)", got, err)
	}
}
