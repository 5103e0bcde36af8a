package model

import "plumb.dev/plumb/internal/object"

// ReadKind is what a render asked of a tree.
type ReadKind uint8

// The kinds of reads.
const (
	ReadFile   ReadKind = iota + 1 // content, mode and link target of one file
	ReadList                       // names and types of a directory, nothing below it
	ReadAbsent                     // looked for and not found
	ReadTree                       // everything below a directory
	ReadType                       // only whether it is a file, a link or a directory
)

// Read is one question a render asked of a tree, with the digest of the answer.
type Read struct {
	Kind   ReadKind
	Path   string // cleaned, slash separated, "" for the root
	Digest string // of the answer; "" for ReadAbsent
}

// Trace lists every read of a render. The same answers mean the same result.
type Trace []Read

// Rendered is one object as it came out of a render, before the delivery marks
// it as its own. JSON is the canonical form.
type Rendered struct {
	ID      object.ID
	Version string
	JSON    []byte
	Origin  Origin
	Secret  bool // holds secret material: never spill it to disk in the clear, never print it
	// Given is what a generator filled the template of the object with: a JSON object
	// of texts; nil: none did. It may name what not everybody may see.
	Given []byte
	CRD   bool // from the directory crds of a chart: Helm installs it before everything else and never deletes it
}

// Manifest is the result of a render.
type Manifest struct {
	Objects []Rendered
	Trace   Trace
	Pinned  bool       // the render used randomness or the clock: never applied again with unchanged inputs
	Kind    RenderKind // how it was rendered, where that was detected
	Chart   *Chart     // that was rendered, with Kind RenderHelm
	Notes   string     // of the chart, rendered; may hold secrets
}

// Desired is one object that a delivery wants on its target, marked as its
// own: labels, annotations and ignored paths are settled.
type Desired struct {
	ID      object.ID
	Version string
	Digest  string // of JSON, keyed when Secret
	JSON    []byte // canonical form as it is sent to the API server
	Origin  Origin
	Secret  bool
	Given   []byte // as of Rendered
	Handle  Handling
	Stage   Stage
}

// Handling is what the annotations of a single object ask for, read from the
// desired object and, once it exists, from the live one.
type Handling struct {
	Disabled     bool // neither applied nor pruned
	Keep         bool // never deleted
	Merge        bool // fields of other managers are left alone
	IfNotPresent bool // created, never changed
	Force        bool // recreated on immutable conflicts

	Replace           bool // replaced whole instead of applied
	PruneLast         bool
	Confirm           bool // its deletion waits for a person (Prune=confirm)
	ConfirmDelete     bool // its deletion with the declared object waits for a person (Delete=confirm)
	Orphan            bool // stays when the declared object goes (Delete=false)
	IgnoreExtraneous  bool // does not count as a difference when no longer wanted
	Weightless        bool // its health does not count
	SkipDryRunMissing bool
	SkipValidation    bool // Validate=false
	// SaysPrune, SaysDelete: its annotations speak of Prune or Delete, so that
	// the defaults of a sync's options do not count for it.
	SaysPrune, SaysDelete bool
}
