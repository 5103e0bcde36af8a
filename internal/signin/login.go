package signin

import (
	"context"
	"strconv"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"

	"plumb.dev/plumb/internal/model"
)

// Limits bound attempts to sign in with a password.
type Limits struct {
	// Failures is how many wrong passwords in a row close an account.
	Failures int
	// Window is how long it stays closed after the last of them; 0 is for ever (as
	// with Argo CD), until a restart.
	Window time.Duration
	// Waiting is how many attempts may be under way at a time; more are turned away.
	Waiting int
}

// DefaultLimits are upstream's.
func DefaultLimits() Limits { return Limits{Failures: 5, Window: 300 * time.Second, Waiting: 50} }

// LimitsFrom reads Argo CD's environment variables, with getenv as os.Getenv;
// what is missing or no number keeps its default.
func LimitsFrom(getenv func(string) string) Limits {
	limits := DefaultLimits()
	number := func(name string, least int, set func(int)) {
		if n, err := strconv.ParseInt(getenv(name), 10, 32); err == nil && int(n) >= least {
			set(int(n))
		}
	}
	number("ARGOCD_SESSION_FAILURE_MAX_FAIL_COUNT", 1, func(n int) { limits.Failures = n })
	number("ARGOCD_SESSION_FAILURE_WINDOW_SECONDS", 0, func(n int) { limits.Window = time.Duration(n) * time.Second })
	number("ARGOCD_MAX_CONCURRENT_LOGIN_REQUESTS_COUNT", 1, func(n int) { limits.Waiting = n })
	return limits
}

func (l Limits) orDefault() Limits {
	if l == (Limits{}) {
		return DefaultLimits()
	}
	if l.Failures < 1 {
		l.Failures = DefaultLimits().Failures
	}
	if l.Waiting < 1 {
		l.Waiting = DefaultLimits().Waiting
	}
	return l
}

const (
	maxName     = 32 // bytes of an account's name, as upstream
	maxPassword = 72 // bytes: what bcrypt reads
	// refusalPace is what the time of a refused attempt is rounded up to, so that
	// it does not tell how far the check came.
	refusalPace = 500 * time.Millisecond
)

// attempts counts wrong passwords. Only accounts that exist are counted, so that
// it cannot be filled: an unknown name is refused in the same way anyhow.
type attempts struct {
	limits  Limits
	mutex   *sync.Mutex
	failed  map[string]failures
	waiting chan struct{}
	hashing chan struct{} // comparing a password takes a processor for a while
}

type failures struct {
	count int
	last  time.Time
}

func newAttempts(limits Limits, hashing int) attempts {
	return attempts{
		limits: limits, mutex: new(sync.Mutex), failed: map[string]failures{},
		waiting: make(chan struct{}, limits.Waiting), hashing: make(chan struct{}, hashing),
	}
}

func (a attempts) closed(account string, now time.Time) bool {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	f := a.failed[account]
	return f.count >= a.limits.Failures && (a.limits.Window == 0 || now.Sub(f.last) <= a.limits.Window)
}

func (a attempts) note(account string, failed bool, accounts map[string]Account, now time.Time) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	for name, f := range a.failed {
		_, exists := accounts[name]
		if !exists || (a.limits.Window > 0 && now.Sub(f.last) > a.limits.Window) {
			delete(a.failed, name)
		}
	}
	if !failed {
		delete(a.failed, account)
		return
	}
	if _, exists := accounts[account]; exists {
		a.failed[account] = failures{count: a.failed[account].count + 1, last: now}
	}
}

// Login checks name and password of a local account and returns the token of its
// session. It answers ErrLogin whatever was wrong, and ErrBusy when too many try
// at a time.
func (d *Door) Login(ctx context.Context, name, password string) (model.Secret, error) {
	setup, err := d.checkPassword(ctx, name, password)
	if err != nil {
		return model.Secret{}, err
	}
	token, err := d.issueSession(setup, name, setup.session)
	if err != nil {
		return model.Secret{}, err
	}
	d.log.Info("signed in", "account", name)
	return token, nil
}

// checkPassword does the same work for every name and refuses at the same pace.
func (d *Door) checkPassword(ctx context.Context, name, password string) (*setup, error) {
	select {
	case d.attempts.waiting <- struct{}{}:
		defer func() { <-d.attempts.waiting }()
	default:
		d.log.Warn("refused to sign in", "reason", "too many attempts under way")
		return nil, ErrBusy
	}
	began := time.Now()
	setup, err := d.setup(ctx)
	if err != nil {
		return nil, err
	}
	reason := d.wrongPassword(ctx, setup, name, password)
	if reason == "" {
		return setup, nil
	}
	account := "unknown" // what is no account may be a password in the wrong field
	if _, exists := setup.accounts[name]; exists {
		account = name
	}
	d.log.Warn("refused to sign in", "account", account, "reason", reason)
	d.options.Wait(ctx, refusalPace-time.Since(began)%refusalPace)
	return nil, ErrLogin
}

// wrongPassword returns why the name and the password do not open the door, ""
// when they do. One password is compared in any case.
func (d *Door) wrongPassword(ctx context.Context, setup *setup, name, password string) string {
	select {
	case d.attempts.hashing <- struct{}{}:
		defer func() { <-d.attempts.hashing }()
	case <-ctx.Done():
		return "the caller gave up"
	}
	account, exists := setup.accounts[name]
	hash, known := setup.hashes[name]
	if _, err := bcrypt.Cost([]byte(hash)); err != nil {
		known = false
		hash = nobody(max(setup.hashCost, d.cost))
	}
	matches := bcrypt.CompareHashAndPassword([]byte(hash), []byte(cut72(password))) == nil

	now := d.options.Now()
	switch {
	case password == "", len(password) > maxPassword, len(name) > maxName:
		return "blank or too long"
	case !exists:
		return "there is no such account"
	case d.attempts.closed(name, now):
		return "too many wrong passwords"
	case !known:
		return "the account has no password"
	case !matches:
		d.attempts.note(name, true, setup.accounts, now)
		return "wrong password"
	case !account.Enabled:
		return "the account is disabled"
	case !account.Can(CapabilityLogin):
		return "the account does not have the capability login"
	}
	d.attempts.note(name, false, setup.accounts, now)
	return ""
}

func cut72(password string) string {
	if len(password) > maxPassword {
		return password[:maxPassword]
	}
	return password
}

// nobodies are hashes that no password matches, by cost.
var nobodies sync.Map

// nobody returns a hash that takes as long to compare as one of that cost.
func nobody(cost int) string {
	if known, ok := nobodies.Load(cost); ok {
		return known.(string)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(newID()), cost)
	if err != nil {
		return ""
	}
	nobodies.Store(cost, string(hash))
	return string(hash)
}
