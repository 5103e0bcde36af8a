package registry

import (
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/source/dial"
)

// place is a repository as seen with one credential.
type place struct {
	*session
	repo name.Repository
	url  string // for messages
}

// key names something of this place, for what is shared and remembered.
func (p *place) key(what ...string) string {
	return p.id + " " + p.repo.RepositoryStr() + " " + strings.Join(what, " ")
}

// session is a registry as seen with one credential: its connections, its
// tokens and the secrets that no message may hold.
type session struct {
	id     string
	puller *remote.Puller
	home   *http.Transport
	away   *http.Transport

	mu     sync.Mutex
	hidden []string
	used   uint64 // by the client, under its lock
}

// maxSessions bounds how many are kept open.
const maxSessions = 512

// place checks an address, without "oci://", and opens a session for it.
func (c *Client) place(address string, auth *model.HTTPAuth) (*place, error) {
	address = strings.TrimPrefix(address, "oci://")
	repo, err := parseRepository(address, auth.Plain)
	if err != nil {
		return nil, &model.Fault{
			Reason:  reasonURLInvalid,
			Message: fmt.Sprintf("URL validation failed for 'oci://%s': %s", address, err),
			Advice:  "write it as oci://host[:port]/repository",
			Err:     err,
		}
	}
	s, err := c.session(repo.Registry, auth)
	if err != nil {
		return nil, err
	}
	return &place{session: s, repo: repo, url: "oci://" + address}, nil
}

func parseRepository(address string, plain bool) (name.Repository, error) {
	var options []name.Option
	if plain {
		options = append(options, name.Insecure)
	}
	if at := strings.LastIndex(address, "/"); at >= 0 {
		if _, tag, found := strings.Cut(address[at:], ":"); found {
			return name.Repository{}, fmt.Errorf("URL must not contain a tag; remove ':%s'", tag)
		}
	}
	return name.NewRepository(address, options...)
}

func (c *Client) session(registry name.Registry, auth *model.HTTPAuth) (*session, error) {
	id := dial.Key(auth, "registry", registry.RegistryStr())
	c.mu.Lock()
	defer c.mu.Unlock()
	c.uses++
	if s := c.sessions[id]; s != nil {
		s.used = c.uses
		return s, nil
	}
	s, err := c.newSession(id, registry, auth)
	if err != nil {
		return nil, &model.Fault{
			Reason:  reasonAuthentication,
			Message: fmt.Sprintf("failed to configure the client of registry '%s': %s", registry.RegistryStr(), err),
			Advice:  "correct the Secret that the object names",
			Err:     err,
		}
	}
	if len(c.sessions) >= maxSessions {
		c.closeOldest()
	}
	s.used = c.uses
	c.sessions[id] = s
	return s, nil
}

// closeOldest forgets the session that was not used for the longest time. Who
// still holds it can go on.
func (c *Client) closeOldest() {
	var oldest *session
	for _, s := range c.sessions {
		if oldest == nil || s.used < oldest.used {
			oldest = s
		}
	}
	delete(c.sessions, oldest.id)
	oldest.home.CloseIdleConnections()
	oldest.away.CloseIdleConnections()
}

func (c *Client) newSession(id string, registry name.Registry, auth *model.HTTPAuth) (*session, error) {
	s := &session{id: id, hidden: dial.Secrets(auth)}
	var err error
	if s.home, err = dial.Transport(auth); err != nil {
		return nil, err
	}
	elsewhere := *auth
	elsewhere.ClientCert, elsewhere.ClientKey = nil, model.Secret{}
	if s.away, err = dial.Transport(&elsewhere); err != nil {
		return nil, err
	}
	keys, err := c.keychain(s, registry, auth)
	if err != nil {
		return nil, err
	}
	s.puller, err = remote.NewPuller(
		remote.WithTransport(&wire{session: s, host: registry.RegistryStr(), limits: c.limits}),
		remote.WithAuthFromKeychain(keys),
		remote.WithUserAgent(c.options.UserAgent),
		remote.WithRetryBackoff(patience),
	)
	return s, err
}

// hide keeps a secret out of the messages of this session.
func (s *session) hide(secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, known := range s.hidden {
		if known == secret {
			return
		}
	}
	if len(s.hidden) >= maxHidden { // the first are those that were declared
		s.hidden = append(s.hidden[:maxHidden/2], s.hidden[maxHidden/2+1:]...)
	}
	s.hidden = append(s.hidden, secret)
}

// maxHidden bounds how many secrets of one session are remembered: tokens come
// and go.
const maxHidden = 256

// scrub makes a text fit for a message.
func (s *session) scrub(text string) string {
	s.mu.Lock()
	hidden := append([]string(nil), s.hidden...)
	s.mu.Unlock()
	return dial.Scrubber(hidden)(text)
}
