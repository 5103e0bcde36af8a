package sops

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/aes"

	"plumb.dev/plumb/internal/model"
)

// Options are what a Decrypter has besides the keys of the declared object.
type Options struct {
	// Default holds age identities ("*.agekey"; other entries are left out) that
	// count when the declared object names no Secret (kustomize-controller,
	// --sops-age-secret).
	Default []model.DecryptionKey
	// Workload is asked for credentials that the Secret does not hold; nil: there
	// are none.
	Workload Workload
	// Client talks to Vault and the clouds; nil: one without a proxy. It never
	// follows redirects.
	Client *http.Client
	Limits Limits
}

// Limits bound what one file may cost. A zero field means the default.
type Limits struct {
	Bytes      int           // of a file; default 5 MiB, as upstream's
	Values     int           // in a file; default 100,000
	Depth      int           // values in each other; default 64
	Recipients int           // default 64
	Time       time.Duration // to open one file, key services included; default 30 s
}

func (l Limits) orDefaults() Limits {
	for _, one := range []struct {
		field *int
		value int
	}{{&l.Bytes, 5 << 20}, {&l.Values, 100_000}, {&l.Depth, 64}, {&l.Recipients, 64}} {
		if *one.field <= 0 {
			*one.field = one.value
		}
	}
	if l.Time <= 0 {
		l.Time = 30 * time.Second
	}
	return l
}

// remembered is how many data keys, and how many checked files, one Decrypter
// keeps.
const remembered = 1024

// Decrypter opens files with one set of keys. It may be used by several
// goroutines. It remembers the data keys that key services gave it, since the
// objects of a file are opened one by one, until Close; it is meant to live as
// long as one render.
type Decrypter struct {
	keys   keys
	limits Limits

	mu       sync.Mutex
	dataKeys map[[sha256.Size]byte][]byte
	checked  map[[sha256.Size]byte]bool
}

// New takes the keys of a declared object. An entry that cannot be used is a
// *model.Fault without an origin, reason BuildFailed.
func New(d model.Decryption, o Options) (*Decrypter, error) {
	silence()
	k, err := readKeys(d, o)
	if err != nil {
		return nil, err
	}
	return &Decrypter{keys: k, limits: o.Limits.orDefaults(), dataKeys: map[[sha256.Size]byte][]byte{}, checked: map[[sha256.Size]byte]bool{}}, nil
}

// Close wipes the data keys that are remembered.
func (d *Decrypter) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.forgetKeys()
}

func (d *Decrypter) forgetKeys() {
	for _, key := range d.dataKeys {
		clear(key)
	}
	clear(d.dataKeys)
}

// DecryptFile opens a whole file, whose MAC has to be right, and returns its
// plaintext. from and to are formats: "yaml", "json", "dotenv", "ini" or
// "binary" (a JSON envelope around any bytes). A tree that cannot be written
// as binary comes in the format of from. Errors are *model.Fault without an
// origin, reason BuildFailed.
func (d *Decrypter) DecryptFile(ctx context.Context, file string, content []byte, from, to string) (plain []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, d.limits.Time)
	defer cancel()
	in, out, err := formatsOf(file, from, to)
	if err != nil {
		return nil, err
	}
	o := opening{Decrypter: d, ctx: ctx, file: file}
	defer o.unpanic(&err)
	tree, err := o.load(content, in)
	if err != nil {
		return nil, err
	}
	if err := o.decrypt(&tree, checkMAC); err != nil {
		return nil, err
	}
	return o.write(tree.Branches, in, out)
}

// DecryptObject opens an object that a build made of a document of a file: the
// object may have fields that the document had not, and another order, so that
// it cannot be checked itself. Instead the documents of the file with the
// object's MAC are. content is the file as it stands in the tree; empty: it is
// not known, and the object is refused. format is that of the file, "yaml" or
// "json"; the object and the result are JSON. Errors are as those of
// DecryptFile.
func (d *Decrypter) DecryptObject(ctx context.Context, file string, content []byte, format string, object []byte) (plain []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, d.limits.Time)
	defer cancel()
	in, out, err := formatsOf(file, format, "json")
	if err != nil {
		return nil, err
	}
	o := opening{Decrypter: d, ctx: ctx, file: file}
	defer o.unpanic(&err)
	tree, err := o.load(object, out)
	if err != nil {
		return nil, err
	}
	if err := o.check(content, in, tree.Metadata.MessageAuthenticationCode); err != nil {
		return nil, err
	}
	if err := o.decrypt(&tree, trustMAC); err != nil {
		return nil, err
	}
	return o.write(tree.Branches, out, out)
}

// opening is one file on its way.
type opening struct {
	*Decrypter
	ctx  context.Context
	file string
}

// unpanic turns a panic of the library, which hostile input can bring about,
// into a fault that does not tell what it was about.
func (o *opening) unpanic(err *error) {
	if r := recover(); r != nil {
		*err = o.malformed("it is not put together as SOPS does")
	}
}

// check sees to it that the documents of a file that have a MAC are those that
// were encrypted.
func (o *opening) check(content []byte, in format, mac string) error {
	if len(content) == 0 {
		return o.fault("it was put together by a program, so that its MAC cannot be checked", "commit the file as SOPS has encrypted it and name it as a resource")
	}
	sum := sha256.New()
	_, _ = sum.Write([]byte(mac))
	_, _ = sum.Write([]byte{0})
	_, _ = sum.Write(content)
	id := [sha256.Size]byte(sum.Sum(nil))
	o.mu.Lock()
	known := o.checked[id]
	o.mu.Unlock()
	if known {
		return nil
	}
	part, err := o.withMAC(content, in, mac)
	if err != nil {
		return err
	}
	tree, err := o.load(part, in)
	if err != nil {
		return err
	}
	if err := o.decrypt(&tree, checkMAC); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.checked) >= remembered {
		clear(o.checked)
	}
	o.checked[id] = true
	return nil
}

// Whether a tree is as it was encrypted is seen from its MAC, or was seen
// before.
const (
	checkMAC = true
	trustMAC = false
)

// decrypt opens the values of a tree in place.
func (o *opening) decrypt(tree *sops.Tree, check bool) error {
	key, err := o.dataKey(&tree.Metadata)
	if err != nil {
		return err
	}
	defer clear(key) // a copy: those that are remembered stay
	cipher := boundCipher{Cipher: aes.NewCipher(), ctx: o.ctx}
	found, err := tree.Decrypt(key, cipher)
	switch {
	case o.ctx.Err() != nil:
		return o.late()
	case err != nil:
		return o.fault("a value in it is not as it was encrypted", "values may not be changed, moved or renamed once they are encrypted: edit the file with “sops edit”, or encrypt it again")
	case !check:
		return nil
	}
	wanted, err := cipher.Decrypt(tree.Metadata.MessageAuthenticationCode, key, tree.Metadata.LastModified.Format(time.RFC3339))
	if text, ok := wanted.(string); err != nil || !ok || text == "" || text != found {
		return o.fault("its MAC does not match: the file was changed after it was encrypted", "edit it with “sops edit”, or encrypt it again; restore the last good version if nobody meant to change it")
	}
	return nil
}

// boundCipher ends with its context.
type boundCipher struct {
	aes.Cipher
	ctx context.Context
}

// Decrypt implements sops.Cipher.
func (c boundCipher) Decrypt(ciphertext string, key []byte, additionalData string) (any, error) {
	if err := c.ctx.Err(); err != nil {
		return nil, err
	}
	return c.Cipher.Decrypt(ciphertext, key, additionalData)
}

// dataKey asks for the key of the values. The caller may wipe it.
func (o *opening) dataKey(m *sops.Metadata) ([]byte, error) {
	id := dataKeyID(m)
	o.mu.Lock()
	known := bytes.Clone(o.dataKeys[id])
	o.mu.Unlock()
	if known != nil {
		return known, nil
	}
	key, err := o.askForKey(m)
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.dataKeys) >= remembered {
		o.forgetKeys()
	}
	o.dataKeys[id] = bytes.Clone(key)
	return key, nil
}

// dataKeyID names a data key by what it is encrypted to.
func dataKeyID(m *sops.Metadata) [sha256.Size]byte {
	sum := sha256.New()
	for _, group := range m.KeyGroups {
		_, _ = fmt.Fprintf(sum, "group %d of %d\n", len(group), m.ShamirThreshold)
		for _, key := range group {
			_, _ = fmt.Fprintf(sum, "%s %q %q\n", key.TypeToIdentifier(), key.ToString(), key.EncryptedDataKey())
		}
	}
	return [sha256.Size]byte(sum.Sum(nil))
}
