package generate

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"plumb.dev/plumb/internal/model"
)

// Options configure an Asker. The zero value is usable.
type Options struct {
	// UserAgent is what servers see; "plumb" when empty.
	UserAgent string
	// CA holds certificate authorities in PEM form that are trusted for every
	// server, beside the system's (argo-cd: --scm-root-ca-path).
	CA []byte
	// Proxy says through which proxy a request goes (argo-cd: --scm-proxy-url);
	// nil: as the environment says.
	Proxy  func(*http.Request) (*url.URL, error)
	Limits Limits
}

// Limits bound what others can make an Asker do. A zero field means its
// default. What goes beyond a limit is a fault, never a shorter answer.
type Limits struct {
	Question      time.Duration // for one question; 5 minutes
	Request       time.Duration // for one request; 30 seconds
	ResponseBytes int64         // of one response; 16 MiB
	Pages         int           // of one list; 1,000
	Results       int           // repositories, branches, pull requests or parameter sets of one answer; 10,000
	Requests      int           // for one question; 30,000
	Parallel      int           // requests for one question at a time; 6
	MemoryBytes   int64         // of what is remembered between questions; 32 MiB
}

func (l Limits) withDefaults() Limits {
	set(&l.Question, 5*time.Minute)
	set(&l.Request, 30*time.Second)
	set(&l.ResponseBytes, 16<<20)
	set(&l.Pages, 1_000)
	set(&l.Results, 10_000)
	set(&l.Requests, 30_000)
	set(&l.Parallel, 6)
	set(&l.MemoryBytes, 32<<20)
	return l
}

func set[T int | int64 | time.Duration](to *T, standard T) {
	if *to <= 0 {
		*to = standard
	}
}

// Asker answers questions. It is safe for concurrent use.
type Asker struct {
	options    Options
	limits     Limits
	now        func() time.Time
	transports transports
	memory     *memory
	tokens     appTokens
	gates      gates
	flights    flights
}

// New returns an Asker that remembers nothing yet.
func New(o Options) *Asker {
	if o.UserAgent == "" {
		o.UserAgent = "plumb"
	}
	if o.Proxy == nil {
		o.Proxy = http.ProxyFromEnvironment
	}
	limits := o.Limits.withDefaults()
	return &Asker{
		options:    o,
		limits:     limits,
		now:        time.Now,
		transports: transports{proxy: o.Proxy, ca: o.CA},
		memory:     newMemory(limits.MemoryBytes),
	}
}

// Ask answers a RepositoriesQuestion, a PullRequestsQuestion or a
// PluginQuestion. The answer holds either what was asked for or a Fault, which
// has the reason ApplicationGenerationFromParamsError (argo-cd,
// ApplicationSet conditions) and the question's origin. It may be shared with
// others who asked the same at the same time: it must not be changed.
func (a *Asker) Ask(ctx context.Context, q model.Question) model.Answer {
	errand, err := a.errand(q)
	if err != nil {
		return refused(q, err)
	}
	answer, err := a.flights.join(ctx, errand.key, a.limits.Question, errand.run)
	if err != nil {
		return refused(q, fmt.Errorf("%s: %w", errand.what, err))
	}
	return answer
}

// errand is a question that was understood.
type errand struct {
	what string // for messages, such as "list the repositories of acme on GitHub"
	key  [sha256.Size]byte
	run  func(context.Context) (model.Answer, error)
}

func (a *Asker) errand(q model.Question) (errand, error) {
	switch {
	case q.Repositories != nil:
		return a.repositoriesErrand(*q.Repositories)
	case q.PullRequests != nil:
		return a.pullRequestsErrand(*q.PullRequests)
	case q.Plugin != nil:
		return a.pluginErrand(*q.Plugin)
	}
	return errand{}, errors.New("the question is none for a forge or a plugin")
}

// sameness is the digest of everything that makes a question what it is;
// identity stands for the server and the credential.
func sameness(kind, identity string, fields ...any) ([sha256.Size]byte, error) {
	text, err := json.Marshal(fields)
	if err != nil {
		return [sha256.Size]byte{}, errors.New("the question cannot be written as JSON")
	}
	return digest([]byte(kind), []byte(identity), text), nil
}

// digest tells apart what is cut differently: every part goes in with its length.
func digest(parts ...[]byte) [sha256.Size]byte {
	h := sha256.New()
	for _, part := range parts {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		_, _ = h.Write(n[:])
		_, _ = h.Write(part)
	}
	return [sha256.Size]byte(h.Sum(nil))
}
