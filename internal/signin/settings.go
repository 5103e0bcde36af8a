package signin

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// Names of the objects that hold the settings, in the namespace of Argo CD or,
// where there is none, in Plumb's own.
const (
	ConfigMapName       = "argocd-cm"
	SecretName          = "argocd-secret"
	InitialSecretName   = "argocd-initial-admin-secret"
	SignedOutSecretName = "plumb-signed-out"
	// ReferenceLabel and ReferenceValue are what a Secret must be labelled with for
	// $name:key to find it.
	ReferenceLabel = "app.kubernetes.io/part-of"
	ReferenceValue = "argocd"
)

// Data is everything that sign-in is configured by. Nothing in it may be changed
// after it was handed over.
type Data struct {
	// Version changes whenever anything below does; it is what parsing is saved by.
	Version string
	Config  map[string]string            // data of ConfigMap argocd-cm
	Secret  map[string][]byte            // data of Secret argocd-secret
	Others  map[string]map[string][]byte // data of Secrets with ReferenceLabel, by name
	// SignedOut is the data of Secret plumb-signed-out: sessions that were signed
	// out, also by other replicas.
	SignedOut map[string][]byte
}

// String hides the data.
func (d Data) String() string { return "settings of sign-in, version " + d.Version }

// GoString hides the data.
func (d Data) GoString() string { return d.String() }

// Settings hands out the newest settings. It is asked at every request, and must
// answer from memory: Feed does.
type Settings interface {
	Settings(ctx context.Context) (Data, error)
}

// Feed is Settings that a watch writes to. Before the first Put, asking waits.
type Feed struct {
	mutex   sync.Mutex
	data    Data
	version int
	filled  chan struct{}
	once    sync.Once
}

// NewFeed returns an empty Feed.
func NewFeed() *Feed { return &Feed{filled: make(chan struct{})} }

// Put replaces the settings. Its Version is set by the Feed.
func (f *Feed) Put(data Data) {
	f.mutex.Lock()
	f.version++
	data.Version = strconv.Itoa(f.version)
	f.data = data
	f.mutex.Unlock()
	f.once.Do(func() { close(f.filled) })
}

// Settings returns what was put last.
func (f *Feed) Settings(ctx context.Context) (Data, error) {
	select {
	case <-f.filled:
	case <-ctx.Done():
		return Data{}, ctx.Err()
	}
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return f.data, nil
}

// Keys of argocd-cm and argocd-secret. (upstream: util/settings)
const (
	keyURL             = "url"
	keyAdditionalURLs  = "additionalUrls"
	keyProvider        = "oidc.config"
	keyDex             = "dex.config"
	keyInsecureTLS     = "oidc.tls.insecure.skip.verify"
	keySessionDuration = "users.session.duration"
	keyAnonymous       = "users.anonymous.enabled"
	keyPasswordPattern = "passwordPattern"
	keyServerSecret    = "server.secretkey"

	defaultSessionDuration = 24 * time.Hour
	defaultPasswordPattern = `^.{8,32}$`

	// shortKey is the length in bytes under which a signing key is reported.
	shortKey = 32
)

// setup is the settings, parsed.
type setup struct {
	namespace   string
	urls        []*url.URL // first the main one
	key         []byte     // server.secretkey; nil: not there yet
	accounts    map[string]Account
	hashes      map[string]string // bcrypt of passwords by account
	anonymous   bool
	session     time.Duration
	pattern     *regexp.Regexp
	patternText string
	provider    *providerConfig // nil: none
	findings    []model.Finding
	hashCost    int // highest cost of any password
	version     string
	signedOut   signedOut
}

// ahead is what was written to argocd-secret and has not come back by the watch.
type ahead struct {
	base   string // version of the settings when it was written
	secret map[string][]byte
	until  time.Time
}

// aheadFor is how long a write is believed before the watch has shown it.
const aheadFor = 10 * time.Second

// setup returns the newest settings, parsed.
func (d *Door) setup(ctx context.Context) (*setup, error) {
	data, err := d.options.Settings.Settings(ctx)
	if err != nil {
		d.log.Error("settings of sign-in cannot be read", "reason", loggable(err))
		return nil, ErrNotReady
	}
	d.parsed.Lock()
	defer d.parsed.Unlock()
	version := data.Version
	if written := d.parsed.ahead; written != nil {
		if written.base == data.Version && d.options.Now().Before(written.until) {
			data.Secret = written.secret
			version += "+"
		} else {
			d.parsed.ahead = nil
		}
	}
	if newest := d.parsed.newest; newest != nil && newest.version == version && version != "" && version != "+" {
		return newest, nil
	}
	fresh := parse(data, d.options.URL, d.options.Namespace)
	fresh.version = version
	if said := fmt.Sprint(fresh.findings); said != d.parsed.said {
		d.parsed.said = said
		for _, finding := range fresh.findings {
			d.log.Warn("settings of sign-in: "+finding.Message, "reason", finding.Reason, "field", finding.Origin.String())
		}
	}
	d.parsed.newest = fresh
	d.revoked.merge(fresh.signedOut, d.options.Now())
	return fresh, nil
}

// wrote notes what argocd-secret holds now, so that the next request goes by it
// even if the watch is slower.
func (d *Door) wrote(ctx context.Context, secret map[string][]byte) {
	data, err := d.options.Settings.Settings(ctx)
	if err != nil {
		return
	}
	d.parsed.Lock()
	defer d.parsed.Unlock()
	d.parsed.newest = nil
	d.parsed.ahead = &ahead{base: data.Version, secret: maps.Clone(secret), until: d.options.Now().Add(aheadFor)}
}

// parse reads the settings. A value that is wrong is reported and counts as the
// safer of what it could mean.
func parse(data Data, fallbackURL, namespace string) *setup {
	s := &setup{namespace: namespace}
	s.key = data.Secret[keyServerSecret]
	if length := len(s.key); length > 0 && length < shortKey {
		s.warn(SecretName, keyServerSecret, "WeakKey",
			fmt.Sprintf("server.secretkey has %d bytes; tokens signed with fewer than %d can be forged by trying", length, shortKey))
	}
	s.urls = s.parseURLs(data.Config, fallbackURL)
	s.anonymous = data.Config[keyAnonymous] == "true"
	s.session = s.parseSession(data.Config)
	s.parsePattern(data.Config)
	s.parseAccounts(data)
	s.parseProvider(data)
	s.signedOut = parseSignedOut(data.SignedOut)
	return s
}

func objectID(kind, namespace, name string) object.ID {
	return object.ID{Kind: kind, Namespace: namespace, Name: name}
}

func (s *setup) warn(name, key, reason, message string) {
	kind := "ConfigMap"
	if name == SecretName {
		kind = "Secret"
	}
	s.findings = append(s.findings, model.Finding{
		Severity: model.Warning, Reason: reason, Message: message,
		Origin: model.Origin{Declared: objectID(kind, s.namespace, name), Field: "data[" + strconv.Quote(key) + "]"},
	})
}

func (s *setup) parseURLs(config map[string]string, fallback string) []*url.URL {
	var urls []*url.URL
	add := func(key, text string) {
		parsed, err := url.Parse(text)
		if err != nil || (parsed.Scheme != "http" && parsed.Scheme != "https") || parsed.Host == "" || parsed.User != nil {
			s.warn(ConfigMapName, key, "InvalidURL", "an address of the server must be http(s)://host/path: this one is ignored")
			return
		}
		parsed.RawQuery, parsed.Fragment = "", ""
		urls = append(urls, parsed)
	}
	switch main := strings.TrimSpace(config[keyURL]); {
	case main != "":
		add(keyURL, main)
	case fallback != "":
		add(keyURL, fallback)
	}
	if list := config[keyAdditionalURLs]; list != "" {
		var more []string
		if err := yaml.Unmarshal([]byte(list), &more); err != nil {
			s.warn(ConfigMapName, keyAdditionalURLs, "InvalidURL", "additionalUrls is not a list of addresses, and ignored")
		}
		for _, text := range more {
			add(keyAdditionalURLs, text)
		}
	}
	return urls
}

func (s *setup) parseSession(config map[string]string) time.Duration {
	text, ok := config[keySessionDuration]
	if !ok {
		return defaultSessionDuration
	}
	duration, err := parseDuration(text)
	if err != nil || duration <= 0 {
		s.warn(ConfigMapName, keySessionDuration, "InvalidDuration", "users.session.duration must be a duration such as 24h or 7d; 24h is used")
		return defaultSessionDuration
	}
	return duration
}

// durationParts is Argo CD's grammar of durations: a number with a unit each,
// largest first, days included. (upstream: timeutil.ParseDuration)
var durationParts = regexp.MustCompile(`^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$`)

func parseDuration(text string) (time.Duration, error) {
	match := durationParts.FindStringSubmatch(text)
	if match == nil || text == "" {
		return time.ParseDuration(text)
	}
	days := 0
	if match[1] != "" {
		var err error
		if days, err = strconv.Atoi(strings.TrimSuffix(match[1], "d")); err != nil || days > 36500 {
			return 0, fmt.Errorf("%d days are too many", days)
		}
	}
	rest := match[2] + match[3] + match[4]
	if rest == "" {
		return time.Duration(days) * 24 * time.Hour, nil
	}
	duration, err := time.ParseDuration(rest)
	return time.Duration(days)*24*time.Hour + duration, err
}

func (s *setup) parsePattern(config map[string]string) {
	s.patternText = config[keyPasswordPattern]
	if s.patternText == "" {
		s.patternText = defaultPasswordPattern
	}
	pattern, err := regexp.Compile(s.patternText)
	if err != nil {
		s.warn(ConfigMapName, keyPasswordPattern, "InvalidPattern", "passwordPattern is not a regular expression: no password can be changed")
		return
	}
	s.pattern = pattern
}

// address returns which of our own addresses the browser asked, the main one
// when none matches, nil when there is none. (upstream: ArgoURLForRequest)
func (s *setup) address(host, path string) *url.URL {
	for _, candidate := range s.urls {
		if strings.EqualFold(candidate.Host, host) && within(path, candidate.Path) {
			return candidate
		}
	}
	if len(s.urls) == 0 {
		return nil
	}
	return s.urls[0]
}

// within reports whether path is base or lies below it, by whole segments.
func within(path, base string) bool {
	base = strings.TrimSuffix(base, "/")
	return base == "" || path == base || strings.HasPrefix(path, base+"/")
}

// dereference returns the value of a $key or $secret:key, as upstream finds it:
// in argocd-secret, or in a labelled Secret. Other texts stand for themselves.
func dereference(text string, data Data) (value string, found bool) {
	reference, ok := strings.CutPrefix(text, "$")
	if !ok {
		return text, true
	}
	if secret, ok := data.Secret[reference]; ok {
		return strings.TrimSpace(string(secret)), true
	}
	name, key, ok := strings.Cut(reference, ":")
	if !ok {
		return text, false
	}
	if secret, ok := data.Others[name][key]; ok {
		return strings.TrimSpace(string(secret)), true
	}
	return text, false
}
