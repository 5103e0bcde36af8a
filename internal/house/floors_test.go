package house

import (
	"fmt"
	"path"
	"strings"
	"testing"
)

// A room is a package, or a package with everything below it that has no entry
// of its own. It may import rooms on lower floors; what else it may import, and
// why it stands where it stands, is said here.
type room struct {
	path  string // below the module's root
	floor int
	why   string   // why it stands on this floor, printed with a refusal
	may   []string // rooms on the same floor that it may import, explained in why
	pure  bool     // above lastPureFloor, and pure all the same
}

// rooms is the house of docs/architecture.md. Imports point down only.
var rooms = []room{
	{path: "internal/object", floor: 0, why: "objects as data are the ground that everything stands on"},
	{path: "internal/model", floor: 0, may: []string{"internal/object"}, why: "the nouns name objects by object.ID, so model stands beside object and knows nothing else"},

	{path: "internal/plan", floor: 1, why: "deciding what to change needs the nouns only, so that every decision can be tested as a table"},
	{path: "internal/health", floor: 1, why: "health is judged from one object; who asks and why is none of its business"},
	{path: "internal/gate", floor: 1, why: "rules are judged over objects that are handed in"},
	{path: "internal/differ", floor: 1, why: "what counts as a difference is judged from two objects and the rules, without a look at the cluster"},
	{path: "internal/policy", floor: 1, may: []string{"internal/gate"}, why: "who may do what is decided from the policy's text and the request alone, so that the whole matrix can be tested as a table; it reads globs as gate does"},
	{path: "internal/helm", floor: 1, why: "names, digests, hooks and orders that dialects, renderer and release must agree on are tables and texts of their own"},
	{path: "internal/githubapp", floor: 1, why: "a claim is signed from a key and a time; who asks GitHub with it, for Git or for its API, is above"},
	{path: "internal/dialect", floor: 1, why: "the contract that every dialect keeps must not know any of them"},

	{path: "internal/dialect/flux", floor: 2, why: "a dialect translates between upstream's words and the nouns; two dialects never know of each other"},
	{path: "internal/dialect/argo", floor: 2, why: "a dialect translates between upstream's words and the nouns; two dialects never know of each other"},

	{path: "internal/source", floor: 3, why: "fetching meets rendering and applying only through the engine, so that each can be tested and replaced alone"},
	{path: "internal/render", floor: 3, why: "a render reads what it is handed; it must not be able to fetch, or to reach a cluster"},
	{path: "internal/generate", floor: 3, why: "generators ask the world; the engine decides what is done with the answers"},
	{path: "internal/release", floor: 3, why: "Helm's life cycle writes through interfaces that the engine wires to the cluster"},
	{path: "internal/secret", floor: 3, why: "recipes are handed what they need and hand back a Secret; they never write it"},
	{path: "internal/notify", floor: 3, why: "notifications are projections of reports and must not be able to change anything"},
	{path: "internal/cluster", floor: 3, why: "the only writer of managed objects must not decide what is written"},
	{path: "internal/journal", floor: 3, why: "history keeps what it is given and asks nobody"},

	{path: "internal/signin", floor: 3, why: "who is calling is found out without knowing what they may do, and without a client of the cluster"},
	{path: "internal/webhook", floor: 3, why: "a payload is understood without knowing who is woken by it"},

	{path: "internal/request", floor: 3, pure: true, why: "what is written when somebody asks for something is a patch in the words of the dialects; commands, the API and Argo CD's protocol write it alike"},

	{path: "internal/kinds", floor: 3, why: "definitions are data that a dialect explains; who installs them is above"},
	{path: "internal/controlplane", floor: 3, why: "launching the embedded Kubernetes is a matter of processes; what runs on it comes later"},
	{path: "internal/gitserve", floor: 3, why: "serving a repository to the engine is what a forge does; it must not know who reads"},

	{path: "internal/engine", floor: 4, why: "the engine wires the rooms below for one delivery; it must not know who watches, queues or serves"},
	{path: "internal/rollout", floor: 4, why: "progressive delivery decides weights; it runs beside the engine, not inside it"},

	{path: "internal/control", floor: 5, why: "the control loop feeds the engine; it must not know the command line"},
	{path: "internal/api", floor: 5, why: "the server shows reports; it must not know the command line or the loop, so that both hand it what they have"},
	{path: "internal/web", floor: 5, why: "the console's build is embedded just below the top, so that no other room grows by it; the server is handed it as a handler"},

	{path: "internal/cli", floor: 6, why: "commands wire everything, so nothing may import them but main"},

	{path: "cmd", floor: 7, why: "main only hands over to the command line"},
	{path: "scenario", floor: 8, why: "stories use the product as its users do; the product must not know them"},
	{path: "bench", floor: 9, why: "benchmarks use the product as its users do, on the stage that the scenarios set"},
	{path: "internal/house", floor: 10, why: "the rules look at the sources, not through imports"},
}

// floorRules say why a refused direction is refused.
const (
	upwards  = "imports point down only: what is below must not know what is above"
	sideways = "rooms on one floor meet through small interfaces that the floor above wires"
)

func TestImportsPointDown(t *testing.T) {
	for _, pkg := range repository(t) {
		if !pkg.inMainModule() {
			continue
		}
		home, ok := roomOf(pkg.dir)
		if !ok {
			t.Errorf("%s stands in no room: give it a place in the table of %s, with the reason", pkg.dir, "internal/house/floors_test.go")
			continue
		}
		for _, file := range pkg.files {
			for _, imported := range file.imports() {
				dir, ours := strings.CutPrefix(imported, modulePath+"/")
				if !ours {
					continue
				}
				if refusal := judge(home, dir, file.test); refusal != "" {
					t.Errorf("%s imports %s: %s", file.path, dir, refusal)
				}
			}
		}
	}
}

// judge returns why home must not import dir, or "". Tests may reach sideways
// for a real neighbour instead of a fake, never up.
func judge(home room, dir string, test bool) string {
	other, ok := roomOf(dir)
	switch {
	case !ok:
		return "which stands in no room"
	case other.path == home.path:
		return ""
	case other.floor > home.floor:
		return fmt.Sprintf("floor %d imports floor %d, but %s (%s: %s)", home.floor, other.floor, upwards, other.path, other.why)
	case other.floor < home.floor || test:
		return ""
	}
	for _, neighbour := range home.may {
		if neighbour == other.path {
			return ""
		}
	}
	return fmt.Sprintf("both stand on floor %d, but %s (%s: %s)", home.floor, sideways, home.path, home.why)
}

func roomOf(dir string) (room, bool) {
	for at := dir; at != "." && at != "/"; at = path.Dir(at) {
		for _, r := range rooms {
			if r.path == at {
				return r, true
			}
		}
	}
	return room{}, false
}

func TestJudgeRefuses(t *testing.T) {
	for _, c := range []struct {
		from, to string
		test     bool
		want     string // part of the refusal, "" for none
	}{
		{from: "internal/plan", to: "internal/model"},
		{from: "internal/model", to: "internal/object"},
		{from: "internal/object", to: "internal/model", want: "both stand on floor 0"},
		{from: "internal/render/kustomize", to: "internal/render"},
		{from: "internal/render", to: "internal/source", want: sideways},
		{from: "internal/render", to: "internal/source", test: true},
		{from: "internal/render", to: "internal/engine", test: true, want: upwards},
		{from: "internal/dialect", to: "internal/dialect/flux", want: upwards},
		{from: "internal/dialect/flux", to: "internal/dialect"},
		{from: "internal/cli", to: "internal/nowhere", want: "no room"},
		{from: "internal/api/board", to: "internal/api/plumbv1"},
		{from: "internal/api", to: "internal/request"},
		{from: "internal/api", to: "internal/control", want: sideways},
		{from: "internal/api", to: "internal/web", want: sideways},
		{from: "internal/request", to: "internal/cluster", want: sideways},
		{from: "internal/policy", to: "internal/signin", want: upwards},
	} {
		home, ok := roomOf(c.from)
		if !ok {
			t.Fatalf("%s has no room", c.from)
		}
		got := judge(home, c.to, c.test)
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s → %s: got %q, want a refusal with %q", c.from, c.to, got, c.want)
		}
	}
}

func TestTableOfRooms(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range rooms {
		if seen[r.path] {
			t.Errorf("%s has two entries", r.path)
		}
		seen[r.path] = true
		if r.why == "" {
			t.Errorf("%s has no reason", r.path)
		}
		for _, neighbour := range r.may {
			other, ok := roomOf(neighbour)
			if !ok || other.path != neighbour || other.floor != r.floor {
				t.Errorf("%s may import %s, which is no room on its floor", r.path, neighbour)
			}
		}
	}
}
