package cluster

import (
	"context"

	"plumb.dev/plumb/internal/model"
)

// Call is one request as an interceptor sees it.
type Call struct {
	Verb        string // RBAC verb: get, list, watch, create, update, patch, delete; apply for server-side apply
	Kind        Kind
	Namespace   string
	Name        string
	Subresource string
	Identity    model.Identity
	Manager     string // field manager of a write
	DryRun      bool
	Background  bool
}

// Intercept is the fault injector: functions that may block, return an error
// or stop the process. Nil ones are skipped. They are called once per call of
// the API, however many attempts it takes.
type Intercept struct {
	// BeforeWrite comes before anything is sent; its error is the result.
	BeforeWrite func(context.Context, Call) error
	// AfterWrite comes after the server answered, with the error so far; what it
	// returns is the result, so that an answer can be lost.
	AfterWrite func(context.Context, Call, error) error
	// BeforeRead comes before a get, list or watch is sent; its error is the result.
	BeforeRead func(context.Context, Call) error
}
