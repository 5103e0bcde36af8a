package api

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/time/rate"

	"plumb.dev/plumb/internal/api/plumbv1/plumbv1connect"
	"plumb.dev/plumb/internal/signin"
)

// Bounds of what may be asked, a second and at once. A page asks for a handful of
// things; scripts may be quicker for a while. An address may be that of a proxy
// with everybody behind it, so that it is bounded for itself only as far as the
// server must not drown: who is signed in is counted by who they are, and all
// others by where they come from.
const (
	addressRate, addressBurst = 1000, 4000
	requestRate, requestBurst = 100, 400

	maxLimited = 10000 // of those who are counted
)

// limiter bounds requests by whoever they are counted for.
type limiter struct {
	rate  rate.Limit
	burst int
	mu    *sync.Mutex
	known map[string]*rate.Limiter
}

func newLimiter(perSecond rate.Limit, burst int) limiter {
	return limiter{rate: perSecond, burst: burst, mu: &sync.Mutex{}, known: map[string]*rate.Limiter{}}
}

// allow reports whether somebody may ask now.
func (l limiter) allow(who string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	one := l.known[who]
	if one == nil {
		if len(l.known) >= maxLimited {
			l.forget()
		}
		one = rate.NewLimiter(l.rate, l.burst)
		l.known[who] = one
	}
	return one.Allow()
}

// forget drops those who have not asked for so long that nothing counts against
// them; where that is nobody, all. The caller holds l.mu.
func (l limiter) forget() {
	now := time.Now()
	for who, one := range l.known {
		if one.TokensAt(now) >= float64(l.burst) {
			delete(l.known, who)
		}
	}
	if len(l.known) >= maxLimited {
		clear(l.known)
	}
}

// network is who counts as one address: a customer of IPv6 has a network of them.
func network(address string) string {
	if ip, err := netip.ParseAddr(address); err == nil && ip.Unmap().Is6() {
		if network, err := ip.WithZone("").Prefix(64); err == nil {
			return network.String()
		}
	}
	return address
}

// addressOf is where a request comes from.
func addressOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// countedFor is for whom a request of a principal is counted: for themselves, or
// for the address where nobody has signed in.
func countedFor(p signin.Principal, r *http.Request) string {
	if p.Kind == "" || p.Kind == signin.KindAnonymous {
		return "from " + network(addressOf(r))
	}
	return streamer(p)
}

// payer is for whom the call that ctx is of is counted.
func payer(ctx context.Context) string {
	x, ok := ctx.Value(exchangeKey{}).(exchange)
	if !ok {
		return ""
	}
	p, _ := signin.Caller(ctx)
	return countedFor(p, x.r)
}

// Bounds of calls that go on at a time: of all callers, of one, and how many of
// one may wait.
const (
	comparisons, callerComparisons, waitingComparisons = 8, 3, 16  // each may be hundreds of predictions by the API server
	readings, callerReadings, waitingReadings          = 32, 8, 64 // each reads the cluster, the journal or everything that is known
	signIns, addressSignIns, waitingSignIns            = 40, 10, 20
)

// signInTime is how long an attempt to sign in waits for those before it.
const signInTime = 10 * time.Second

// signInPaths take a name and a password.
var signInPaths = map[string]bool{
	plumbv1connect.SessionServiceSignInProcedure: true, "/session.SessionService/Create": true, "/api/v1/session": true,
}

// readingPaths are calls that take more than a look at rows.
var readingPaths = map[string]bool{
	plumbv1connect.FleetServiceSearchProcedure: true, plumbv1connect.FleetServiceListActivityProcedure: true,
	plumbv1connect.DeliveryServiceGetObjectProcedure: true, plumbv1connect.DeliveryServiceExplainProcedure: true,
	plumbv1connect.DeliveryServiceGetHistoryProcedure: true,
	"/application.ApplicationService/List":            true, "/api/v1/applications": true,
	"/application.ApplicationService/ResourceTree": true, "/application.ApplicationService/GetResource": true,
	"/application.ApplicationService/ListResourceEvents": true, "/application.ApplicationService/RevisionMetadata": true,
	"/applicationset.ApplicationSetService/List": true, "/api/v1/applicationsets": true,
	"/repository.RepositoryService/ListApps": true, "/repository.RepositoryService/GetAppDetails": true,
}

// comparingPaths are calls of Argo CD's protocol that render or compare. Those of
// our own take their turn when they come to it.
var comparingPaths = map[string]bool{
	"/application.ApplicationService/ManagedResources": true, "/application.ApplicationService/ServerSideDiff": true,
	"/application.ApplicationService/GetManifests": true, "/application.ApplicationService/GetManifestsWithFiles": true,
	"/applicationset.ApplicationSetService/Generate": true, "/api/v1/applicationsets/generate": true,
}

// lineOf is the line that a request stands in before it begins; nil: it is quick.
func (s *Server) lineOf(r *http.Request) *turns {
	path := r.URL.Path
	switch {
	case signInPaths[path] && r.Method == http.MethodPost:
		return s.signing
	case readingPaths[path]:
		return s.reading
	case comparingPaths[path]:
		return s.comparing
	}
	rest, found := strings.CutPrefix(path, "/api/v1/applications/")
	if _, call, deeper := strings.Cut(rest, "/"); found && deeper && r.Method == http.MethodGet {
		switch call {
		case "manifests", "managed-resources", "server-side-diff":
			return s.comparing
		case "resource-tree", "resource", "events":
			return s.reading
		}
	}
	return nil
}

// metered refuses who asks too much, and lets calls that cost a lot begin one
// after another. It stands behind whoever finds out who calls.
func (s *Server) metered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		principal, err := signin.Caller(r.Context())
		if claimant := signin.Claimant(r.Context()); errors.Is(err, signin.ErrInvalidSession) || errors.Is(err, signin.ErrExpired) {
			s.noteStranger(r, claimant, err)
		}
		who := countedFor(principal, r)
		if !s.callers.allow(who) {
			tooMany(w, r, "too many requests")
			return
		}
		if err == nil {
			end, ok := s.calls.begin(who, 1)
			if !ok {
				tooMany(w, r, "too many requests at a time")
				return
			}
			defer end()
		}
		line, patience := s.lineOf(r), callTime
		switch {
		case line == s.signing:
			who, patience = countedFor(signin.Principal{}, r), signInTime
			if !arrived(w, r) {
				return
			}
		case err != nil: // a stranger is refused before anything is done, and takes no place
			line = nil
		}
		if line == nil {
			next.ServeHTTP(w, r)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), patience)
		give, err := line.take(ctx, who)
		cancel()
		if err != nil {
			tooMany(w, r, err.Error())
			return
		}
		defer give()
		next.ServeHTTP(w, r)
	})
}

// maxSignIn bounds a name and a password, as they are sent.
const maxSignIn = 16 << 10

// arrived reads the whole of a request to sign in: whoever trickles it must not
// have a place meanwhile. It is false where that came to nothing, and answered.
func arrived(w http.ResponseWriter, r *http.Request) bool {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxSignIn))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		refuse(w, r, http.StatusRequestEntityTooLarge, connect.CodeResourceExhausted, "no name and password are as long")
		return false
	case err != nil:
		refuse(w, r, http.StatusBadRequest, connect.CodeInvalidArgument, "the request has not arrived whole")
		return false
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return true
}

// forStrangers is metered where nobody has signed in yet.
func (s *Server) forStrangers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.callers.allow(countedFor(signin.Principal{}, r)) {
			tooMany(w, r, "too many requests")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// retryAfter tells when to come back, in seconds.
const retryAfter = "1"

// tooMany answers a request that comes too soon, in the words of its protocol.
func tooMany(w http.ResponseWriter, r *http.Request, why string) {
	w.Header().Set("Retry-After", retryAfter)
	refuse(w, r, http.StatusTooManyRequests, connect.CodeResourceExhausted, why)
}

var protocols = connect.NewErrorWriter()

// refuse answers a request that no handler is asked about.
func refuse(w http.ResponseWriter, r *http.Request, status int, code connect.Code, why string) {
	if r.Method == http.MethodPost && protocols.IsSupported(r) {
		_ = protocols.Write(w, r, connect.NewError(code, errors.New(why)))
		return
	}
	http.Error(w, why, status)
}

// exhausted is an error that tells when to come back.
func exhausted(why string) error {
	err := connect.NewError(connect.CodeResourceExhausted, errors.New(why))
	err.Meta().Set("Retry-After", retryAfter)
	return err
}
