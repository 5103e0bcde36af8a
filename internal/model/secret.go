package model

import (
	"errors"
	"fmt"
)

// Secret is a value that refuses to be printed or serialised. Reveal is the
// only way to the bytes, so that each use can be found by searching for it.
type Secret struct{ bytes []byte }

// NewSecret takes ownership of b.
func NewSecret(b []byte) Secret { return Secret{bytes: b} }

// Reveal returns the bytes. The caller must not log, store or send them
// anywhere but to the party that the secret is meant for.
func (s Secret) Reveal() []byte { return s.bytes }

// IsZero reports whether there is no value.
func (s Secret) IsZero() bool { return len(s.bytes) == 0 }

const masked = "[secret]"

// String masks the value.
func (s Secret) String() string { return masked }

// GoString masks the value.
func (s Secret) GoString() string { return masked }

// Format masks the value for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(masked)) }

var errSecret = errors.New("a secret value must not be serialised")

// MarshalJSON always fails.
func (s Secret) MarshalJSON() ([]byte, error) { return nil, errSecret }

// MarshalText always fails.
func (s Secret) MarshalText() ([]byte, error) { return nil, errSecret }

// MarshalYAML always fails.
func (s Secret) MarshalYAML() (any, error) { return nil, errSecret }

// MarshalBinary always fails.
func (s Secret) MarshalBinary() ([]byte, error) { return nil, errSecret }

// GobEncode always fails.
func (s Secret) GobEncode() ([]byte, error) { return nil, errSecret }
