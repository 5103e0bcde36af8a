package signin

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/bcrypt"

	"plumb.dev/plumb/internal/model"
)

// Writer reads and writes the Secrets that sign-in keeps, all in the namespace
// of the settings.
type Writer interface {
	// Read returns the newest Secret of that name, not a cached one. An absent one
	// has the Version "".
	Read(ctx context.Context, name string) (Stored, error)
	// Write creates the Secret when its Version is "" and else replaces exactly
	// that version; it returns ErrConflict when that is not what is stored.
	Write(ctx context.Context, secret Stored) error
}

// Stored is a Secret as it lies in the cluster.
type Stored struct {
	Name        string
	Version     string // resourceVersion; "" when it is absent
	Labels      map[string]string
	Annotations map[string]string
	Data        map[string][]byte
}

// String hides the data.
func (s Stored) String() string { return "Secret " + s.Name }

// GoString hides the data.
func (s Stored) GoString() string { return s.String() }

// IssuedToken is what is written down of a token that was handed out: never the
// token. The field names are Argo CD's.
type IssuedToken struct {
	ID        string `json:"id"`
	IssuedAt  int64  `json:"iat"`           // Unix seconds
	ExpiresAt int64  `json:"exp,omitempty"` // Unix seconds; 0 for never
}

// Projects knows which tokens of projects have been handed out.
type Projects interface {
	// Tokens returns what AppProject project says of its role: the items of
	// status.jwtTokensByRole[role] and of jwtTokens of that role in spec.roles. A
	// project that does not exist has none.
	Tokens(ctx context.Context, project, role string) ([]IssuedToken, error)
}

// Review is the answer of a TokenReview.
type Review struct {
	Authenticated bool
	User          string
	Groups        []string
	Audiences     []string // status.audiences
}

// Reviewer asks the API server whose token it is (TokenReview of
// authentication.k8s.io/v1). An error means that it could not tell.
type Reviewer interface {
	Review(ctx context.Context, token model.Secret, audiences []string) (Review, error)
}

// Options are what a Door is made of. Settings must be given.
type Options struct {
	Settings Settings
	Writer   Writer   // nil: nothing can be changed, and sign-outs are lost at a restart
	Projects Projects // nil: no token of a project is valid
	Reviewer Reviewer // nil: no service account is known

	// Namespace is that of the settings, for findings: Argo CD's, or Plumb's own
	// where there is no Argo CD.
	Namespace string
	// URL is where people find the server when the settings do not say (key url of
	// argocd-cm), such as "http://127.0.0.1:8080".
	URL string
	// Audience is what tokens of service accounts may be made for besides the API
	// server's own audience; "" is DefaultAudience.
	Audience string
	// Limits bound attempts to sign in; the zero value is DefaultLimits.
	Limits Limits

	// SignedIn is told who has signed in at the identity provider, in the browser;
	// with an error, one of ErrInvalidSession, ErrExpired and ErrUnavailable, that
	// somebody was not let in. nil: nobody keeps account.
	SignedIn func(r *http.Request, name string, err error)

	Log *slog.Logger     // nil: nothing is logged
	Now func() time.Time // nil: time.Now
	// Wait pauses before an attempt to sign in is refused; nil: a real pause.
	Wait func(ctx context.Context, pause time.Duration)
	// Transport is used instead of one that is made from the settings; for tests.
	Transport http.RoundTripper
	// FederatedToken returns the assertion of workload identity on Azure; nil: the
	// file that AZURE_FEDERATED_TOKEN_FILE names.
	FederatedToken func() ([]byte, error)
}

// DefaultAudience is the audience of service-account tokens made for Plumb.
const DefaultAudience = "plumb"

// Door knows who is calling. It is safe for concurrent use.
type Door struct {
	options Options
	log     *slog.Logger

	parsed struct {
		sync.Mutex
		newest *setup
		ahead  *ahead
		said   string // findings that are in the log
	}
	provider atomic.Pointer[provider]

	attempts  attempts
	revoked   revoked
	states    ledger[struct{}] // states of the browser's sign-in that were used
	refreshes flights
	groups    ledger[[]string]
	reviews   ledger[Review]
	asking    chan struct{} // reviews under way
	cost      int           // of bcrypt, for passwords that are set here
}

// Bounds of what is kept in memory.
const (
	maxStates  = 10_000
	maxGroups  = 5_000
	maxReviews = 2_000
	maxAsking  = 8
)

// New returns a Door. It does nothing until it is asked; call Start before
// serving.
func New(options Options) *Door {
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Wait == nil {
		options.Wait = pause
	}
	if options.SignedIn == nil {
		options.SignedIn = func(*http.Request, string, error) {}
	}
	if options.Audience == "" {
		options.Audience = DefaultAudience
	}
	if options.FederatedToken == nil {
		options.FederatedToken = federatedTokenFile
	}
	options.Limits = options.Limits.orDefault()
	door := &Door{options: options, log: options.Log, asking: make(chan struct{}, maxAsking), cost: bcrypt.DefaultCost}
	if door.log == nil {
		door.log = slog.New(slog.DiscardHandler)
	}
	door.attempts = newAttempts(options.Limits, max(1, runtime.GOMAXPROCS(0)/2))
	door.states = newLedger[struct{}](maxStates)
	door.groups = newLedger[[]string](maxGroups)
	door.reviews = newLedger[Review](maxReviews)
	door.revoked.known = newSignedOut()
	return door
}

// Findings are what is wrong with the settings, or is not acted on; the origin
// names the key.
func (d *Door) Findings(ctx context.Context) ([]model.Finding, error) {
	setup, err := d.setup(ctx)
	if err != nil {
		return nil, err
	}
	return setup.findings, nil
}

func pause(ctx context.Context, pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// federatedTokenFile reads what the webhook of Azure Workload Identity mounts.
func federatedTokenFile() ([]byte, error) {
	name := os.Getenv("AZURE_FEDERATED_TOKEN_FILE")
	if name == "" {
		return nil, &model.Fault{
			Reason:  "FederatedTokenMissing",
			Message: "azure.useWorkloadIdentity is set, but AZURE_FEDERATED_TOKEN_FILE is not",
			Advice:  "label Plumb's Pod with azure.workload.identity/use: \"true\" and annotate its service account",
		}
	}
	return os.ReadFile(name)
}
