// Package logins keeps what plumb login has brought about: the servers that
// somebody has signed in to, each under a name, in one file that only they can
// read. It knows how a server is trusted and reached, and nothing of commands.
package logins

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/signin/loopback"
)

// Kubeconfig is the name that stands for no login: the cluster that the
// kubeconfig names is asked.
const Kubeconfig = "kubeconfig"

// Book is the file's content.
type Book struct {
	Current string  `json:"current,omitempty"` // name of the login in use; "" for none
	Logins  []Login `json:"logins"`
}

// Login is one server, and who somebody is there.
type Login struct {
	Name   string `json:"name"`
	Server string `json:"server"` // address, such as https://plumb.example.org
	Trust  Trust  `json:"trust,omitzero"`
	User   string `json:"user,omitempty"` // as the server called them

	// One of these is how they sign in.
	Token      string             `json:"token,omitempty"`      // bearer token
	Kubernetes string             `json:"kubernetes,omitempty"` // context of the kubeconfig whose token is sent
	Provider   *loopback.Provider `json:"provider,omitempty"`   // that Token is of, and Refresh renews it

	Refresh string    `json:"refresh,omitempty"`
	Expires time.Time `json:"expires,omitzero"`  // of Token; zero when it does not
	Session bool      `json:"session,omitempty"` // Token was made by signing in, and ends by signing out
}

// String names the login and its server.
func (l Login) String() string { return l.Name + " (" + l.Server + ")" }

// GoString hides the tokens.
func (l Login) GoString() string { return l.String() }

// Find returns the login of a name or, where none has it, of a server.
func (b *Book) Find(nameOrServer string) (*Login, bool) {
	for i := range b.Logins {
		if b.Logins[i].Name == nameOrServer {
			return &b.Logins[i], true
		}
	}
	address, err := Address(nameOrServer, true)
	if err != nil {
		return nil, false
	}
	for i := range b.Logins {
		if b.Logins[i].Server == address {
			return &b.Logins[i], true
		}
	}
	return nil, false
}

// Put adds a login, or replaces the one of its name.
func (b *Book) Put(l Login) {
	i := slices.IndexFunc(b.Logins, func(known Login) bool { return known.Name == l.Name })
	if i < 0 {
		b.Logins = append(b.Logins, l)
		return
	}
	b.Logins[i] = l
}

// Delete takes a login away, and reports whether there was one.
func (b *Book) Delete(name string) bool {
	before := len(b.Logins)
	b.Logins = slices.DeleteFunc(b.Logins, func(l Login) bool { return l.Name == name })
	if b.Current == name {
		b.Current = ""
	}
	return len(b.Logins) < before
}

// Shelf is where the book lies.
type Shelf struct{ File string }

// ShelfIn is the user's own (XDG Base Directory Specification); getenv is
// os.Getenv. An error says that there is no place for it.
func ShelfIn(getenv func(string) string) (Shelf, error) {
	switch {
	case getenv("XDG_CONFIG_HOME") != "":
		return Shelf{filepath.Join(getenv("XDG_CONFIG_HOME"), "plumb", "logins.yaml")}, nil
	case getenv("HOME") != "":
		return Shelf{filepath.Join(getenv("HOME"), ".config", "plumb", "logins.yaml")}, nil
	}
	return Shelf{}, &model.Fault{
		Reason: "NoHome", Message: "there is no home directory to keep logins in",
		Advice: "set HOME or XDG_CONFIG_HOME; or give the server and the token by PLUMB_SERVER and PLUMB_AUTH_TOKEN",
	}
}

// Read returns the book; an empty one when there is none. A book that others can
// read is refused: they would be who signed in.
func (s Shelf) Read() (*Book, error) {
	file, err := os.Open(s.File)
	if errors.Is(err, fs.ErrNotExist) {
		return &Book{}, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if exposed(info) {
		return nil, &model.Fault{
			Reason: "Exposed", Message: fmt.Sprintf("%s holds tokens, and others than you may read it", s.File),
			Advice: "take it back with: chmod 600 " + s.File + "; if others may have read it, sign out: plumb logout --all",
		}
	}
	content, err := readBounded(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.File, err)
	}
	book := &Book{}
	if err := yaml.Unmarshal(content, book); err != nil {
		return nil, &model.Fault{ // what the parser says may show a token
			Reason: "Unreadable", Message: s.File + " is no book of logins",
			Advice: "mend the file, or remove it and sign in again",
		}
	}
	return book, nil
}

// Change reads the book, lets edit change it, and puts it back in one step, so
// that a reader never sees half of it. Commands that change it at the same time
// take turns; edit may take its time, within that of the caller.
func (s Shelf) Change(edit func(*Book) error) error {
	if err := os.MkdirAll(filepath.Dir(s.File), 0o700); err != nil {
		return err
	}
	unlock, err := lock(s.File + ".lock")
	if err != nil {
		return err
	}
	defer unlock()
	book, err := s.Read()
	if err != nil {
		return err
	}
	if err := edit(book); err != nil {
		return err
	}
	content, err := yaml.Marshal(book)
	if err != nil {
		return err
	}
	return s.replace(content)
}

func (s Shelf) replace(content []byte) error {
	draft, err := os.CreateTemp(filepath.Dir(s.File), ".logins-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = draft.Write(content)
	if err == nil {
		err = draft.Sync()
	}
	if err = errors.Join(err, draft.Close()); err == nil {
		err = os.Rename(draft.Name(), s.File)
	}
	if err != nil {
		return errors.Join(err, os.Remove(draft.Name()))
	}
	return nil
}
