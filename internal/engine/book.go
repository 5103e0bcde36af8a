package engine

import (
	"time"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/source"
)

// book is everything the engine knows. Engine.mu guards all of it; nothing in
// it is held across a request.
type book struct {
	sources    map[object.ID]*sourceState
	deliveries map[object.ID]*delivery
	readers    map[object.ID]map[object.ID]bool // source → deliveries that read it
	madeOf     map[object.ID]map[object.ID]bool // source → sources that its news concern
	shown      map[object.ID]map[object.ID]bool // declared source → deliveries that read it while it is suspended
	dependants map[object.ID]map[object.ID]bool // delivery → deliveries that depend on it
	stale      map[object.ID]bool               // deliveries whose wants are not known for their present inputs
	blocked    map[object.ID]map[object.ID]bool // deliveries that wait for what others say, and of which objects
	wants      map[key]map[object.ID]bool       // managed object → deliveries that want it
	entries    map[key]*entry                   // managed object → what is known of it
	owned      map[object.ID]map[key]string     // delivery → objects it owns, with their version
	unread     []object.ID                      // sources that have lost their last reader
	parting    map[object.ID]parting            // sources that have gone, and for which something may be kept
	leaving    map[object.ID]chan struct{}      // sources for which what was kept is being removed
	unmarked   map[key]map[object.ID]bool       // object without the watch label → deliveries that compare it
	storages   map[key]map[object.ID]bool       // records of a Helm release → deliveries that go by them
	lookups    map[question]*lookupWatch        // asked by a chart with lookup → what is heard of the answer
	hooks      map[key]*hook                    // object that runs as a hook → what is known of it
	names      *names                           // of entries, for searches; nil: nobody has searched yet
	changes    uint64                           // counts what was added to entries or taken away
}

func newBook() book {
	return book{
		sources:    map[object.ID]*sourceState{},
		deliveries: map[object.ID]*delivery{},
		readers:    map[object.ID]map[object.ID]bool{},
		madeOf:     map[object.ID]map[object.ID]bool{},
		shown:      map[object.ID]map[object.ID]bool{},
		dependants: map[object.ID]map[object.ID]bool{},
		stale:      map[object.ID]bool{},
		blocked:    map[object.ID]map[object.ID]bool{},
		wants:      map[key]map[object.ID]bool{},
		entries:    map[key]*entry{},
		owned:      map[object.ID]map[key]string{},
		parting:    map[object.ID]parting{},
		leaving:    map[object.ID]chan struct{}{},
		unmarked:   map[key]map[object.ID]bool{},
		storages:   map[key]map[object.ID]bool{},
		lookups:    map[question]*lookupWatch{},
		hooks:      map[key]*hook{},
	}
}

// key is a managed object on one cluster; cluster is "" for the local one.
type key struct {
	cluster string
	id      object.ID
}

// sourceState is one declared source.
type sourceState struct {
	spec     model.Source
	findings []model.Finding
	tree     *source.Tree // last good one
	fault    *model.Fault // of the last look
	looked   bool         // a look has ended, well or not
	handled  string
	observed int64 // generation of the last look
	artifact *model.Artifact
	wake     chan struct{}
	stop     func()
	after    <-chan struct{} // what was kept of an earlier one of this name is gone; nil: nothing was
	ended    chan struct{}   // closed once nobody looks at it any more
	asked    uint64          // counts the requests to look
	answered uint64          // asked, when the last look that has ended began

	// Of a source that has its trees from another one (model.Source.Same).
	lent     *source.Tree // the other's tree that was taken last
	borrowed *source.Tree // the same tree, as this source has it
	passed   string       // the wake token that was passed on last
	awaits   uint64       // the other's answer that the token waits for
}

// delivery is one declared delivery.
type delivery struct {
	spec     model.Delivery
	facts    model.Facts
	findings []model.Finding
	version  uint64 // grows with every change of spec or facts: a run that began before is superseded

	// What the last evaluation answered.
	trees    []*source.Tree  // evaluated against, one for each input
	at       uint64          // version it answers
	own      bool            // of the inputs that an operation brought
	desired  []model.Desired // JSON may be dropped under pressure: rendered again when needed
	digest   string          // of the desired set
	fault    *model.Fault    // why the evaluation failed; desired is then the last good set
	withheld []model.Finding // objects that are recognised and never applied
	unplaced bool            // some desired objects are of kinds whose scope is not known yet
	cluster  string          // key of the target cluster

	hooks    []model.Desired // run in syncs, neither compared nor owned
	inputs   []model.InputReport
	images   []string
	orphans  []object.ID           // in the target's namespace, as last looked for
	asks     []object.ID           // sources that a render or an expansion asked to read
	answers  map[string]answered   // to questions of an expansion
	extras   map[object.ID][]extra // by the source of an input: what its render asked for besides
	lookups  map[question]bool     // that charts have asked of the target
	unheard  bool                  // there are more of them than are watched
	capable  string                // state of the target that a render looked at; "": none did
	implicit []model.IgnoreRule    // rules that follow from what is wanted

	judgement judgement
	refusal   *model.Fault           // why the declared object, as it stands, may not be acted on; nil: it may
	badRules  *model.Fault           // why the rules of health or of comparison cannot be used
	compared  map[object.ID]observed // objects without the watch label, as they were found
	kindWaits []func()               // stop waiting for kinds that are not served

	ranTrees   []*source.Tree // of the last run that ended
	ranVersion uint64

	release  *releasing             // what is known of a Helm release; nil: nothing yet, or it is none
	sync     *syncing               // the operation that is under way
	ending   *syncing               // the hooks of the deletion
	last     *model.OperationReport // the last one that has ended
	done     string                 // ID of the last requested operation that has ended
	swept    time.Time              // start of the last operation whose hooks have been cleaned up
	failed   attempt                // the last automated sync that failed
	next     time.Duration          // until the next run that a sync asks for; 0: none
	awaiting map[object.ID]uint64   // looks at sources that somebody asked for

	claimed  bool // claims of the status and the journal have been taken into the book
	followed bool // the kinds of what was claimed are watched
	recheck  bool // a person asked: look at every object once
	handled  string
	report   *model.Report // last
	recorded string        // result of the last entry in the history, since the start
	health   *settling     // while health is awaited
	failures int           // in a row, for backing off
	timer    *time.Timer
}

// link adds b to the set at a.
func link[A, B comparable](sets map[A]map[B]bool, a A, b B) {
	set := sets[a]
	if set == nil {
		set = map[B]bool{}
		sets[a] = set
	}
	set[b] = true
}

// unlink removes b from the set at a.
func unlink[A, B comparable](sets map[A]map[B]bool, a A, b B) {
	delete(sets[a], b)
	if len(sets[a]) == 0 {
		delete(sets, a)
	}
}
