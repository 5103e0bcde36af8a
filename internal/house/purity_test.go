package house

import (
	"go/ast"
	"strings"
	"testing"
)

// lastPureFloor is the highest floor whose rooms decide and translate only:
// same input, same output, nothing touched. A room above may be pure too: its
// entry says so.
const lastPureFloor = 2

// A touch is a way out of a pure room: a package, or single names of one.
type touch struct {
	path  string // import path; with a trailing "/" everything below it
	names []string
	why   string
}

var touches = []touch{
	{path: "time", names: []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}, why: "reads the clock: take the time as an argument"},
	{path: "time", names: []string{"LoadLocation"}, why: "reads the disk"},
	{path: "k8s.io/apimachinery/pkg/apis/meta/v1", names: []string{"Now", "NowMicro"}, why: "reads the clock: take the time as an argument"},
	{path: "context", names: []string{"WithTimeout", "WithTimeoutCause", "WithDeadline", "WithDeadlineCause"}, why: "starts a timer: the caller sets deadlines"},
	{path: "fmt", names: []string{"Print", "Printf", "Println", "Scan", "Scanf", "Scanln"}, why: "talks to the terminal"},
	{path: "os", why: "touches disk, environment or process"},
	{path: "os/", why: "touches processes, signals or users"},
	{path: "syscall", why: "touches the operating system"},
	{path: "plugin", why: "loads code from disk"},
	{path: "log", why: "writes to the world: return a finding or a fault"},
	{path: "log/", why: "writes to the world: return a finding or a fault"},
	{path: "path/filepath", names: []string{"Abs", "EvalSymlinks", "Glob", "Walk", "WalkDir"}, why: "reads the disk"},
	{path: "net", names: []string{"Dial", "DialTimeout", "DialTCP", "DialUDP", "DialIP", "DialUnix", "Listen", "ListenPacket", "ListenTCP", "ListenUDP", "ListenUnix", "LookupAddr", "LookupCNAME", "LookupHost", "LookupIP", "LookupMX", "LookupNS", "LookupPort", "LookupSRV", "LookupTXT", "Interfaces", "InterfaceAddrs", "Dialer", "ListenConfig", "Resolver", "DefaultResolver"}, why: "touches the network; parsing addresses is fine"},
	{path: "net/http", names: []string{"Get", "Head", "Post", "PostForm", "Client", "DefaultClient", "Transport", "DefaultTransport", "ListenAndServe", "ListenAndServeTLS", "Serve", "ServeTLS", "Server"}, why: "touches the network; constants are fine"},
	{path: "net/rpc", why: "touches the network"},
	{path: "net/smtp", why: "touches the network"},
	{path: "crypto/rand", why: "differs from run to run"},
	{path: "math/rand", why: "differs from run to run"},
	{path: "math/rand/v2", why: "differs from run to run"},
	{path: "database/sql", why: "touches a database"},
}

// A stranger is a third-party package that pure rooms may import. Everything
// that is not listed is refused, so that nobody brings in a client unseen.
type stranger struct {
	path string // import path, or a prefix ending in "/"
	why  string
}

var strangers = []stranger{
	{"k8s.io/apimachinery/", "the shape of objects; no client in it"},
	{"github.com/Masterminds/sprig/v3", "functions of templates; those that touch the world are taken out"},
	{"github.com/gosimple/unidecode", "a table of letters"},
	{"github.com/itchyny/gojq", "an interpreter that is given neither input nor environment"},
	{"github.com/gobwas/glob/", "a grammar of patterns"},
	{"github.com/robfig/cron/v3", "parses schedules; its clock and its runner are not used"},
	{"github.com/yuin/gopher-lua", "an interpreter that is given no library but those that compute"},
	{"github.com/yuin/gopher-lua/", "its syntax tree, which the bounds are woven into"},
	{"k8s.io/api/", "types of the built-in kinds"},
	{"k8s.io/apiextensions-apiserver/pkg/apis/", "types of CRDs"},
	{"github.com/fluxcd/kustomize-controller/api/", "upstream's types, so that a field we forgot is a failing test"},
	{"github.com/fluxcd/helm-controller/api/", "upstream's types, so that digests of parts of the spec are upstream's too"},
	{"helm.sh/helm/v4/pkg/strvals", "the grammar of helm --set; no client in it"},
	{"github.com/fluxcd/source-controller/api/", "upstream's types, so that a field we forgot is a failing test"},
	{"github.com/fluxcd/pkg/apis/", "upstream's types and the reasons its users know"},
	{"sigs.k8s.io/structured-merge-diff/", "field sets as managedFields spells them"},
	{"sigs.k8s.io/yaml", "decoding, as the API server does it"},
	{"sigs.k8s.io/json", "strict decoding, as the API server does it"},
	{"go.yaml.in/yaml/", "decoding with line numbers"},
	{"github.com/google/cel-go/", "readyExpr and health expressions; evaluation is pure"},
	{"cel.dev/expr", "CEL's syntax tree"},
	{"github.com/aymanbagabas/go-udiff", "line differences of two texts"},
	{"github.com/Masterminds/semver/", "version constraints"},
}

func TestPureFloorsTouchNothing(t *testing.T) {
	for _, pkg := range repository(t) {
		home, ok := roomOf(pkg.dir)
		if !ok || !pkg.inMainModule() || home.floor > lastPureFloor && !home.pure {
			continue
		}
		for _, file := range pkg.files {
			if file.test {
				continue
			}
			for _, complaint := range impurities(file) {
				t.Error(complaint)
			}
		}
	}
}

func impurities(file *goFile) []string {
	var complaints []string
	refuse := func(what, why string, at ast.Node) {
		complaints = append(complaints, place(file, at)+": a pure room takes "+what+", which "+why)
	}
	for i, imported := range file.imports() {
		spec := file.syntax.Imports[i]
		if third(imported) && !welcome(imported) {
			refuse(imported, "is not on the list of packages that pure rooms may import", spec)
		}
		for _, way := range touches {
			if len(way.names) == 0 && (way.path == imported || strings.HasSuffix(way.path, "/") && strings.HasPrefix(imported, way.path)) {
				refuse(imported, way.why, spec)
			}
		}
		if spec.Name != nil && spec.Name.Name == "." {
			refuse(imported+" by a dot", "hides what it takes", spec)
		}
	}
	file.uses(func(importPath, name string, at ast.Node) {
		for _, way := range touches {
			if way.path != importPath {
				continue
			}
			for _, refused := range way.names {
				if refused == name {
					refuse(importPath+"."+name, way.why, at)
				}
			}
		}
	})
	return complaints
}

// third reports whether a path is neither ours nor of the standard library.
func third(importPath string) bool {
	first, _, _ := strings.Cut(importPath, "/")
	return strings.Contains(first, ".") && importPath != modulePath && !strings.HasPrefix(importPath, modulePath+"/")
}

func welcome(importPath string) bool {
	for _, s := range strangers {
		if importPath == s.path || strings.HasSuffix(s.path, "/") && strings.HasPrefix(importPath, s.path) {
			return true
		}
	}
	return false
}

func TestImpuritiesAreSeen(t *testing.T) {
	for _, c := range []struct {
		name, code string
		want       []string
	}{
		{"a duration is no clock", `import "time"; const d = time.Second`, nil},
		{"the clock", `import "time"; var now = time.Now()`, []string{"time.Now"}},
		{"the clock without a call", `import clock "time"; var now = clock.Now`, []string{"time.Now"}},
		{"the clock by a dot", `import . "time"; var now = Now()`, []string{"time by a dot"}},
		{"a variable named time", `type c struct{ Now int }; func f(time c) int { return time.Now }`, nil},
		{"the clock of apimachinery", `import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"; var now = metav1.Now()`, []string{"meta/v1.Now"}},
		{"the disk", `import "os"; var f = os.Getenv`, []string{"takes os,"}},
		{"a process", `import "os/exec"; var f = exec.Command`, []string{"os/exec"}},
		{"an address is no network", `import "net"; var ip = net.ParseIP("::1")`, nil},
		{"the network", `import "net"; var f = net.Dial`, []string{"net.Dial"}},
		{"a client", `import "k8s.io/client-go/kubernetes"; var f kubernetes.Interface`, []string{"k8s.io/client-go/kubernetes"}},
		{"types of a kind", `import corev1 "k8s.io/api/core/v1"; var f corev1.Pod`, nil},
		{"randomness", `import "math/rand/v2"; var n = rand.Int()`, []string{"math/rand/v2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := impurities(fromText(t, c.code))
			if len(got) != len(c.want) {
				t.Fatalf("complaints %q, want %d of them", got, len(c.want))
			}
			for i, want := range c.want {
				if !strings.Contains(got[i], want) {
					t.Errorf("complaint %q does not name %q", got[i], want)
				}
			}
		})
	}
}
