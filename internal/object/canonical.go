package object

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"
	"unicode/utf8"
)

// Canonical writes decoded JSON in the one form that equal objects share: keys
// sorted by their bytes, no white space, no HTML escaping, no newline at the
// end, whole numbers without fraction or exponent whatever Go type holds them.
// An error means that o holds a type that JSON decoding never gives, a NaN or
// an infinity.
func Canonical(o map[string]any) ([]byte, error) {
	w := newWriter()
	defer w.release()
	w.object(o)
	return w.bytes(), w.err
}

// CanonicalValue is Canonical for any decoded JSON value.
func CanonicalValue(value any) ([]byte, error) {
	w := newWriter()
	defer w.release()
	w.value(value)
	return w.bytes(), w.err
}

// Digest is the SHA-256 of b as "sha256:" and 64 hexadecimal digits.
func Digest(b []byte) string {
	sum := sha256.Sum256(b)
	const prefix = "sha256:"
	var out [len(prefix) + 2*sha256.Size]byte
	copy(out[:], prefix)
	hex.Encode(out[len(prefix):], sum[:])
	return string(out[:])
}

// Keyed is the HMAC-SHA256 of b under key, in 64 hexadecimal digits. It stands
// in for Digest where b may hold a secret: a plain digest would let anyone who
// sees it test guesses.
func Keyed(key, b []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write(b)
	var sum [sha256.Size]byte
	return hex.EncodeToString(mac.Sum(sum[:0]))
}

// writer appends canonical JSON. keys is a stack that all levels of nesting
// share, so that sorting keys allocates nothing once it has grown.
type writer struct {
	buf  []byte
	keys []string
	err  error
}

// writers are used again: what they write is copied once its size is known.
var writers = sync.Pool{New: func() any { return new(writer) }}

func newWriter() *writer {
	w, _ := writers.Get().(*writer)
	return w
}

// release gives the writer back, unless an unusually large object has made it
// too large to keep.
func (w *writer) release() {
	const largest = 256 << 10
	if cap(w.buf) > largest {
		return
	}
	clear(w.keys[:cap(w.keys)])
	w.buf, w.keys, w.err = w.buf[:0], w.keys[:0], nil
	writers.Put(w)
}

func (w *writer) bytes() []byte { return bytes.Clone(w.buf) }

func (w *writer) value(value any) {
	switch v := value.(type) {
	case map[string]any:
		w.object(v)
	case []any:
		w.list(v)
	case string:
		w.string(v)
	case bool:
		w.buf = strconv.AppendBool(w.buf, v)
	case int64:
		w.buf = strconv.AppendInt(w.buf, v, 10)
	case float64:
		w.float(v)
	case nil:
		w.buf = append(w.buf, "null"...)
	default:
		w.foreign(value)
	}
}

// foreign takes the types that objects built by hand hold, though no decoder
// gives them.
func (w *writer) foreign(value any) {
	switch v := value.(type) {
	case int:
		w.buf = strconv.AppendInt(w.buf, int64(v), 10)
	case int32:
		w.buf = strconv.AppendInt(w.buf, int64(v), 10)
	case uint64:
		w.buf = strconv.AppendUint(w.buf, v, 10)
	case float32:
		w.float(float64(v))
	case json.Number:
		w.number(v)
	case map[string]string:
		converted := make(map[string]any, len(v))
		for key, value := range v {
			converted[key] = value
		}
		w.object(converted)
	case []string:
		converted := make([]any, len(v))
		for i, value := range v {
			converted[i] = value
		}
		w.list(converted)
	case []map[string]any:
		converted := make([]any, len(v))
		for i, value := range v {
			converted[i] = value
		}
		w.list(converted)
	default:
		w.fail(fmt.Errorf("a %T has no place in a decoded object", value))
	}
}

func (w *writer) fail(err error) {
	if w.err == nil {
		w.err = err
	}
	w.buf = append(w.buf, "null"...)
}

func (w *writer) object(o map[string]any) {
	if o == nil {
		w.buf = append(w.buf, "null"...)
		return
	}
	base := w.push(o)
	w.buf = append(w.buf, '{')
	for i := base; i < base+len(o); i++ {
		if i > base {
			w.buf = append(w.buf, ',')
		}
		key := w.keys[i]
		w.string(key)
		w.buf = append(w.buf, ':')
		w.value(o[key])
	}
	w.buf = append(w.buf, '}')
	w.keys = w.keys[:base]
}

// push puts the sorted keys of m on the stack and returns where they begin.
func (w *writer) push(m map[string]any) int {
	base := len(w.keys)
	for key := range m {
		w.keys = append(w.keys, key)
	}
	slices.Sort(w.keys[base:])
	return base
}

func (w *writer) list(l []any) {
	if l == nil {
		w.buf = append(w.buf, "null"...)
		return
	}
	w.buf = append(w.buf, '[')
	for i, value := range l {
		if i > 0 {
			w.buf = append(w.buf, ',')
		}
		w.value(value)
	}
	w.buf = append(w.buf, ']')
}

func (w *writer) number(n json.Number) {
	if i, err := n.Int64(); err == nil {
		w.buf = strconv.AppendInt(w.buf, i, 10)
		return
	}
	f, err := n.Float64()
	if err != nil {
		w.fail(fmt.Errorf("%q is not a number", string(n)))
		return
	}
	w.float(f)
}

// float writes the shortest form that reads back as f, in the notation of
// encoding/json.
func (w *writer) float(f float64) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		w.fail(fmt.Errorf("%v cannot be written as JSON", f))
		return
	}
	if f == 0 {
		w.buf = append(w.buf, '0') // also for the negative zero, which equals it
		return
	}
	if abs := math.Abs(f); abs >= 1e-6 && abs < 1e21 {
		w.buf = strconv.AppendFloat(w.buf, f, 'f', -1, 64)
		return
	}
	start := len(w.buf)
	w.buf = strconv.AppendFloat(w.buf, f, 'e', -1, 64)
	// e-09 becomes e-9.
	if n := len(w.buf); n-start >= 4 && w.buf[n-4] == 'e' && w.buf[n-3] == '-' && w.buf[n-2] == '0' {
		w.buf[n-2] = w.buf[n-1]
		w.buf = w.buf[:n-1]
	}
}

// plain marks the ASCII bytes that stand for themselves in a JSON string.
var plain = func() (t [utf8.RuneSelf]bool) {
	for b := byte(' '); b < utf8.RuneSelf; b++ {
		t[b] = b != '"' && b != '\\'
	}
	return t
}()

const hexDigits = "0123456789abcdef"

func (w *writer) string(s string) {
	w.buf = append(w.buf, '"')
	start := 0
	for i := 0; i < len(s); {
		b := s[i]
		if b < utf8.RuneSelf {
			if plain[b] {
				i++
				continue
			}
			w.buf = append(w.buf, s[start:i]...)
			switch b {
			case '"', '\\':
				w.buf = append(w.buf, '\\', b)
			case '\b':
				w.buf = append(w.buf, '\\', 'b')
			case '\f':
				w.buf = append(w.buf, '\\', 'f')
			case '\n':
				w.buf = append(w.buf, '\\', 'n')
			case '\r':
				w.buf = append(w.buf, '\\', 'r')
			case '\t':
				w.buf = append(w.buf, '\\', 't')
			default:
				w.buf = append(w.buf, '\\', 'u', '0', '0', hexDigits[b>>4], hexDigits[b&0xf])
			}
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			w.buf = append(w.buf, s[start:i]...)
			w.buf = append(w.buf, `\ufffd`...)
			start = i + size
		case r == '\u2028' || r == '\u2029':
			w.buf = append(w.buf, s[start:i]...)
			w.buf = append(w.buf, `\u202`...)
			w.buf = append(w.buf, hexDigits[r&0xf])
			start = i + size
		}
		i += size
	}
	w.buf = append(w.buf, s[start:]...)
	w.buf = append(w.buf, '"')
}
