package model

import (
	"fmt"
	"strings"
	"time"

	"plumb.dev/plumb/internal/object"
)

// Origin says who asked for something. For a declared object it is the object
// and the path of the field; for a rendered object also the repository,
// revision, file and line. Every finding and fault points at one.
type Origin struct {
	Dialect  string    // room under dialect/ that understood the declaration, such as "flux"
	Declared object.ID // the declaring object
	Field    string    // path in the declaring object, such as "spec.ref.semver"

	Repository string // URL without credentials
	Revision   string // as the dialect prints it, such as "main@sha1:…"
	File       string // path in the tree, slash separated, without leading "./"
	Line       int    // 1-based; 0 when unknown
}

// String prints the most precise place that is known.
func (o Origin) String() string {
	var b strings.Builder
	if o.File != "" {
		b.WriteString(o.File)
		if o.Line > 0 {
			fmt.Fprintf(&b, ":%d", o.Line)
		}
		return b.String()
	}
	if !o.Declared.IsZero() {
		b.WriteString(o.Declared.String())
	}
	if o.Field != "" {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(o.Field)
	}
	return b.String()
}

// Severity ranks a Finding.
type Severity string

// The severities of findings.
const (
	Info    Severity = "info"    // accepted, works differently from upstream
	Warning Severity = "warning" // accepted, but not acted on
	Refused Severity = "refused" // the object as a whole is not acted on
)

// Finding is something a user should know about a declared object that does
// not stop the rest of it: a field that Plumb does not act on, a deprecated
// form, a value that was replaced by a default.
type Finding struct {
	Severity Severity
	Reason   string // one CamelCase word, used as the event reason
	Message  string
	Origin   Origin
}

// Fault is an error that a person can act on. Phases return faults; the
// dialects turn them into conditions and events.
type Fault struct {
	Reason  string // CamelCase condition reason in upstream's words, such as "BuildFailed"
	Message string // what went wrong, complete in itself, free of secrets
	Advice  string // what to do next; may be empty
	Origin  Origin
	Object  object.ID // the object concerned, if one is
	Retry   bool      // whether trying again without any change can help
	Waiting bool      // nothing is wrong: something else has to happen first
	At      time.Time // when it was found, for transition times; pure phases leave it zero and their caller sets it
	Err     error     // cause, for errors.Is and errors.As; never printed
}

// Error is the message with its place and the advice.
func (f *Fault) Error() string {
	msg := f.Message
	if at := f.Origin.File; at != "" && !strings.Contains(msg, at) {
		msg = f.Origin.String() + ": " + msg
	}
	if f.Advice != "" {
		msg += "; " + f.Advice
	}
	return msg
}

// Unwrap returns the cause.
func (f *Fault) Unwrap() error { return f.Err }
