package signin

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"plumb.dev/plumb/internal/model"
)

const (
	testKey      = "canary-key-4f1d0c6a9be2-canary-key-4f1d0c6a9be2"
	testPassword = "canary-password-7731"
	testURL      = "https://gitops.example.com"
	testIssued   = 1_800_000_000
)

// cluster holds Secrets as an API server does, and shows argocd-secret and the
// sign-outs to whoever watches.
type cluster struct {
	mutex    sync.Mutex
	version  int
	secrets  map[string]Stored
	config   map[string]string
	others   map[string]map[string][]byte
	feeds    []*Feed
	deaf     bool // the watch has stopped
	conflict func(secret Stored) bool
}

func newCluster(config map[string]string) *cluster {
	return &cluster{secrets: map[string]Stored{}, config: config}
}

func (c *cluster) Read(_ context.Context, name string) (Stored, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	stored := c.secrets[name]
	stored.Data, stored.Annotations = maps.Clone(stored.Data), maps.Clone(stored.Annotations)
	return stored, nil
}

func (c *cluster) Write(_ context.Context, secret Stored) error {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.conflict != nil && c.conflict(secret) {
		return ErrConflict
	}
	if c.secrets[secret.Name].Version != secret.Version {
		return ErrConflict
	}
	c.put(secret)
	return nil
}

func (c *cluster) put(secret Stored) {
	c.version++
	secret.Version = strconv.Itoa(c.version)
	secret.Data = maps.Clone(secret.Data)
	c.secrets[secret.Name] = secret
	c.show()
}

func (c *cluster) show() {
	if c.deaf {
		return
	}
	for _, feed := range c.feeds {
		feed.Put(Data{
			Config: maps.Clone(c.config), Secret: maps.Clone(c.secrets[SecretName].Data), Others: c.others,
			SignedOut: maps.Clone(c.secrets[SignedOutSecretName].Data),
		})
	}
}

// set changes what people have written down, as kubectl edit does.
func (c *cluster) set(config map[string]string, secret map[string]string) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	merged := maps.Clone(c.config)
	if merged == nil {
		merged = map[string]string{}
	}
	maps.Copy(merged, config)
	c.config = merged
	stored := c.secrets[SecretName]
	stored.Name, stored.Data = SecretName, maps.Clone(stored.Data)
	if stored.Data == nil {
		stored.Data = map[string][]byte{}
	}
	for key, value := range secret {
		stored.Data[key] = []byte(value)
		if value == "" {
			delete(stored.Data, key)
		}
	}
	c.put(stored)
}

func (c *cluster) data(name, key string) string {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return string(c.secrets[name].Data[key])
}

func (c *cluster) watch() *Feed {
	feed := NewFeed()
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.feeds = append(c.feeds, feed)
	c.show()
	return feed
}

func unix(seconds int64) time.Time { return time.Unix(seconds, 0) }

type clock struct {
	mutex sync.Mutex
	now   time.Time
}

func (c *clock) Now() time.Time {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.now = c.now.Add(d)
}

type projects map[string][]IssuedToken

func (p projects) Tokens(_ context.Context, project, role string) ([]IssuedToken, error) {
	return p[project+"/"+role], nil
}

// world is a door with everything around it. Whatever it learns to be secret
// must not be in the log when the test ends.
type world struct {
	*Door
	t       *testing.T
	cluster *cluster
	clock   *clock
	options Options
	log     *syncBuffer
	mutex   sync.Mutex
	secrets map[string]bool
}

type syncBuffer struct {
	mutex  sync.Mutex
	buffer bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.buffer.Write(p)
}

func (b *syncBuffer) String() string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.buffer.String()
}

var passwordHash = sync.OnceValue(func() string {
	hash, err := bcrypt.GenerateFromPassword([]byte(testPassword), bcrypt.MinCost)
	if err != nil {
		panic(err)
	}
	return string(hash)
})

func newWorld(t *testing.T, config map[string]string, change ...func(*Options)) *world {
	t.Helper()
	all := map[string]string{"url": testURL, "accounts.alice": "login, apiKey", "accounts.bot": "apiKey"}
	maps.Copy(all, config)
	w := &world{t: t, cluster: newCluster(all), clock: &clock{now: time.Unix(testIssued, 0)}, log: new(syncBuffer), secrets: map[string]bool{}}
	w.cluster.set(nil, map[string]string{
		"server.secretkey": testKey, "admin.password": passwordHash(), "accounts.alice.password": passwordHash(),
		"accounts.bot.tokens": `[{"id":"bot-1","iat":1799999000}]`,
	})
	w.options = Options{
		Writer: w.cluster, Namespace: "argocd",
		Log:  slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Now:  w.clock.Now,
		Wait: func(context.Context, time.Duration) {},
	}
	for _, c := range change {
		c(&w.options)
	}
	w.Door = w.replica()
	w.hide(testKey, testPassword)
	t.Cleanup(w.nothingLeaked)
	return w
}

// replica is another door to the same cluster, which hashes cheaply.
func (w *world) replica() *Door {
	options := w.options
	options.Settings = w.cluster.watch()
	door := New(options)
	door.cost = bcrypt.MinCost
	return door
}

// hide notes texts that must not be in the log; of a token, each part.
func (w *world) hide(secrets ...string) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	for _, secret := range secrets {
		for part := range strings.SplitSeq(secret, ".") {
			if len(part) >= 8 {
				w.secrets[part] = true
			}
		}
	}
}

func (w *world) nothingLeaked() {
	log := w.log.String()
	w.mutex.Lock()
	defer w.mutex.Unlock()
	for secret := range w.secrets {
		if strings.Contains(log, secret) {
			w.t.Errorf("a secret is in the log: %s…", secret[:6])
		}
	}
}

// call authenticates a request that carries the token as bearer.
func (w *world) call(token string) (Principal, error) {
	w.t.Helper()
	w.hide(token)
	request := httptest.NewRequest(http.MethodGet, testURL+"/api/v1/applications", nil)
	request.Header.Set("Authorization", "Bearer "+token)
	return w.closed(w.Authenticate(w.t.Context(), request))
}

// closed checks that an error gives nothing away.
func (w *world) closed(caller Principal, err error) (Principal, error) {
	w.t.Helper()
	if err == nil {
		return caller, nil
	}
	for _, known := range []error{ErrNoSession, ErrInvalidSession, ErrExpired, ErrUnavailable, ErrNotReady} {
		if err == known { //nolint:errorlint // exactly this one: nothing may be wrapped in it
			return caller, err
		}
	}
	w.t.Errorf("the caller is told %q (%T)", err, err)
	return caller, err
}

func (w *world) login(name string) string {
	w.t.Helper()
	token, err := w.Login(w.t.Context(), name, testPassword)
	if err != nil {
		w.t.Fatalf("sign in as %s: %v", name, err)
	}
	w.hide(reveal(token))
	return reveal(token)
}

func reveal(token model.Secret) string { return string(token.Reveal()) }

// handmade signs claims as any other JWT library would, with HMAC.
func handmade(header string, claims map[string]any, key string) string {
	payload, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	signed := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString(payload)
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

const hs256 = `{"alg":"HS256","typ":"JWT"}`

// argoClaims are the claims of a token that Argo CD has issued.
func argoClaims(subject string, more map[string]any) map[string]any {
	claims := map[string]any{"iss": "argocd", "sub": subject, "iat": testIssued, "nbf": testIssued, "jti": "7d3c5b1a-0000-4000-8000-000000000001"}
	for name, value := range more {
		claims[name] = value
		if value == nil {
			delete(claims, name)
		}
	}
	return claims
}
