package cluster

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"unicode/utf8"

	utiljson "k8s.io/apimachinery/pkg/util/json"
)

// The decoder below makes the map[string]any of unstructured objects, with the
// number types that k8s.io/apimachinery/pkg/util/json gives: int64 where it
// fits, else float64. It is two to three times faster than that, since it
// knows that it stands on a complete text, shares the names of common fields
// and never looks at anything twice; a fuzzer holds both against each other.

const maxDepth = 512

var (
	errSyntax = errors.New("invalid JSON")
	errDepth  = fmt.Errorf("JSON is nested more than %d levels deep", maxDepth)
)

// decodeObject decodes one JSON object.
func decodeObject(text []byte) (map[string]any, error) {
	d := decoder{text: text}
	if d.space() != '{' {
		return nil, d.syntax()
	}
	m, err := d.object()
	if err != nil {
		return nil, err
	}
	return m, d.end()
}

// decodeEvent decodes one frame of a watch: {"type": …, "object": {…}}.
func decodeEvent(text []byte, metadataOnly bool) (typ string, object map[string]any, err error) {
	d := decoder{text: text}
	if metadataOnly {
		d.dropManagedAt = 3
	}
	if d.space() != '{' {
		return "", nil, d.syntax()
	}
	err = d.members(func(key string) error {
		switch {
		case key == "type" && d.space() == '"':
			v, err := d.value()
			typ, _ = v.(string)
			return err
		case key == "object" && d.space() == '{':
			var err error
			object, err = d.object()
			return err
		}
		return d.skip()
	})
	if err != nil {
		return "", nil, err
	}
	return typ, object, d.end()
}

// page is what a list says beside its items.
type page struct {
	resourceVersion string
	next            string // continue token, "" on the last page
}

// decodeList hands out the items of a list one by one.
func decodeList(text []byte, metadataOnly bool, each func(map[string]any) error) (page, error) {
	var p page
	d := decoder{text: text}
	if metadataOnly {
		d.dropManagedAt = 4
	}
	if d.space() != '{' {
		return p, d.syntax()
	}
	err := d.members(func(key string) error {
		switch {
		case key == "metadata" && d.space() == '{':
			meta, err := d.object()
			p.resourceVersion, _ = meta["resourceVersion"].(string)
			p.next, _ = meta["continue"].(string)
			return err
		case key == "items" && d.space() == '[':
			return d.elements(func() error {
				if d.space() != '{' {
					return d.syntax()
				}
				item, err := d.object()
				if err != nil {
					return err
				}
				return each(item)
			})
		}
		return d.skip()
	})
	if err != nil {
		return p, err
	}
	return p, d.end()
}

type decoder struct {
	text          []byte
	pos           int
	depth         int
	dropManagedAt int // depth of objects that lose their managedFields; 0: none
}

// end fails unless the whole text was read.
func (d *decoder) end() error {
	if d.space(); d.pos != len(d.text) {
		return d.syntax()
	}
	return nil
}

// syntax never quotes the text: it may hold a secret.
func (d *decoder) syntax() error { return fmt.Errorf("%w at byte %d", errSyntax, d.pos) }

// space skips white space and returns the byte that follows, 0 at the end.
func (d *decoder) space() byte {
	for d.pos < len(d.text) {
		switch c := d.text[d.pos]; c {
		case ' ', '\t', '\r', '\n':
			d.pos++
		default:
			return c
		}
	}
	return 0
}

func (d *decoder) value() (any, error) {
	switch c := d.space(); c {
	case '{':
		return d.object()
	case '[':
		return d.array()
	case '"':
		raw, plain, err := d.rawString()
		if err != nil {
			return nil, err
		}
		return unquote(raw, plain)
	case 't':
		return true, d.literal("true")
	case 'f':
		return false, d.literal("false")
	case 'n':
		return nil, d.literal("null")
	default:
		return d.number()
	}
}

func (d *decoder) literal(word string) error {
	if len(d.text)-d.pos < len(word) || string(d.text[d.pos:d.pos+len(word)]) != word {
		return d.syntax()
	}
	d.pos += len(word)
	return nil
}

func (d *decoder) object() (map[string]any, error) {
	m := map[string]any{}
	err := d.members(func(key string) error {
		if key == "managedFields" && d.depth == d.dropManagedAt {
			return d.skip()
		}
		v, err := d.value()
		if err != nil {
			return err
		}
		m[key] = v
		return nil
	})
	return m, err
}

// members calls each at the value of every member; each must consume it.
func (d *decoder) members(each func(key string) error) error {
	if d.depth++; d.depth > maxDepth {
		return errDepth
	}
	d.pos++ // the brace
	if d.space() == '}' {
		d.pos++
		d.depth--
		return nil
	}
	for {
		if d.space() != '"' {
			return d.syntax()
		}
		raw, plain, err := d.rawString()
		if err != nil {
			return err
		}
		key, shared := fieldNames[string(raw)]
		if !shared {
			if key, err = unquote(raw, plain); err != nil {
				return err
			}
		}
		if d.space() != ':' {
			return d.syntax()
		}
		d.pos++
		if err := each(key); err != nil {
			return err
		}
		switch d.space() {
		case ',':
			d.pos++
		case '}':
			d.pos++
			d.depth--
			return nil
		default:
			return d.syntax()
		}
	}
}

func (d *decoder) array() ([]any, error) {
	list := []any{}
	err := d.elements(func() error {
		v, err := d.value()
		list = append(list, v)
		return err
	})
	return list, err
}

// elements calls each at every element; each must consume it.
func (d *decoder) elements(each func() error) error {
	if d.depth++; d.depth > maxDepth {
		return errDepth
	}
	d.pos++ // the bracket
	if d.space() == ']' {
		d.pos++
		d.depth--
		return nil
	}
	for {
		if err := each(); err != nil {
			return err
		}
		switch d.space() {
		case ',':
			d.pos++
		case ']':
			d.pos++
			d.depth--
			return nil
		default:
			return d.syntax()
		}
	}
}

// skip passes over one value without making anything of it.
func (d *decoder) skip() error {
	switch d.space() {
	case '{':
		return d.members(func(string) error { return d.skip() })
	case '[':
		return d.elements(d.skip)
	case '"':
		_, _, err := d.rawString()
		return err
	default:
		_, err := d.value()
		return err
	}
}

// rawString returns what stands between the quotes at the position, and
// whether it means itself: no escapes, nothing that is not UTF-8.
func (d *decoder) rawString() (raw []byte, plain bool, err error) {
	start := d.pos + 1
	plain = true
	ascii := true
	for i := start; i < len(d.text); i++ {
		switch c := d.text[i]; {
		case c == '"':
			d.pos = i + 1
			raw = d.text[start:i]
			if !ascii && !utf8.Valid(raw) {
				plain = false
			}
			return raw, plain, nil
		case c == '\\':
			plain = false
			i++
		case c < ' ':
			d.pos = i
			return nil, false, d.syntax()
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	d.pos = len(d.text)
	return nil, false, d.syntax()
}

// unquote makes a string of what rawString found. Escapes are rare enough to
// leave them to the standard rules.
func unquote(raw []byte, plain bool) (string, error) {
	if plain {
		return string(raw), nil
	}
	quoted := make([]byte, 0, len(raw)+2)
	quoted = append(quoted, '"')
	quoted = append(quoted, raw...)
	quoted = append(quoted, '"')
	var s string
	if err := utiljson.Unmarshal(quoted, &s); err != nil {
		return "", fmt.Errorf("%w: a string has an escape that does not exist", errSyntax)
	}
	return s, nil
}

func (d *decoder) number() (any, error) {
	start := d.pos
	d.pos++
	whole := true
scan:
	for ; d.pos < len(d.text); d.pos++ {
		switch c := d.text[d.pos]; {
		case c >= '0' && c <= '9':
		case c == '.', c == 'e', c == 'E', c == '+', c == '-':
			whole = false
		default:
			break scan
		}
	}
	if start >= len(d.text) || !validNumber(d.text[start:d.pos]) {
		d.pos = start
		return nil, d.syntax()
	}
	text := string(d.text[start:d.pos])
	if whole {
		if i, err := strconv.ParseInt(text, 10, 64); err == nil {
			return i, nil
		}
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(f, 0) {
		d.pos = start
		return nil, d.syntax()
	}
	return f, nil
}

// validNumber is the grammar of RFC 8259, section 6.
func validNumber(n []byte) bool {
	digits := func() bool {
		i := 0
		for i < len(n) && n[i] >= '0' && n[i] <= '9' {
			i++
		}
		n = n[i:]
		return i > 0
	}
	if len(n) > 0 && n[0] == '-' {
		n = n[1:]
	}
	if len(n) > 1 && n[0] == '0' && n[1] >= '0' && n[1] <= '9' {
		return false
	}
	if !digits() {
		return false
	}
	if len(n) > 0 && n[0] == '.' {
		if n = n[1:]; !digits() {
			return false
		}
	}
	if len(n) > 0 && (n[0] == 'e' || n[0] == 'E') {
		if n = n[1:]; len(n) > 0 && (n[0] == '+' || n[0] == '-') {
			n = n[1:]
		}
		if !digits() {
			return false
		}
	}
	return len(n) == 0
}

// fieldNames are the names that most objects have, so that a thousand decoded
// objects share one copy of them.
var fieldNames = func() map[string]string {
	names := map[string]string{}
	for _, n := range []string{
		"apiVersion", "kind", "metadata", "name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp",
		"deletionTimestamp", "deletionGracePeriodSeconds", "labels", "annotations", "finalizers", "ownerReferences", "managedFields",
		"manager", "operation", "time", "fieldsType", "fieldsV1", "subresource", "controller", "blockOwnerDeletion",
		"spec", "status", "data", "stringData", "type", "immutable", "conditions", "reason", "message", "lastTransitionTime",
		"lastUpdateTime", "observedGeneration", "replicas", "selector", "matchLabels", "template", "containers", "image",
		"imagePullPolicy", "resources", "requests", "limits", "cpu", "memory", "ports", "port", "containerPort", "targetPort", "protocol",
		"env", "value", "valueFrom", "volumeMounts", "volumes", "mountPath", "restartPolicy", "dnsPolicy", "schedulerName",
		"securityContext", "terminationGracePeriodSeconds", "terminationMessagePath", "terminationMessagePolicy", "strategy",
		"rollingUpdate", "maxSurge", "maxUnavailable", "revisionHistoryLimit", "progressDeadlineSeconds", "serviceAccountName",
		"serviceAccount", "clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy", "sessionAffinity",
		"loadBalancer", "inventory", "entries", "id", "v", "interval", "path", "prune", "sourceRef", "url", "ref", "branch",
		"lastAppliedRevision", "lastAttemptedRevision", "history", "artifact", "revision", "digest", "rules", "verbs", "apiGroups",
		"f:metadata", "f:spec", "f:status", "f:data", "f:labels", "f:annotations", "f:name", "f:namespace", "f:finalizers",
		"f:ownerReferences", "f:type", "f:reason", "f:message", "f:lastTransitionTime", "f:lastUpdateTime", "f:conditions",
		"f:observedGeneration", "f:replicas", "f:selector", "f:template", "f:containers", "f:image", "f:imagePullPolicy",
		"f:resources", "f:ports", "f:port", "f:protocol", "f:targetPort", "f:containerPort", "f:env", "f:value", "f:strategy",
		"f:inventory", "f:entries", "f:interval", "f:path", "f:prune", "f:sourceRef", "f:kind", "f:lastAppliedRevision",
		"f:lastAttemptedRevision", "f:history", ".", "object",
		"app", "app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "app.kubernetes.io/part-of",
	} {
		names[n] = n
	}
	return names
}()

// frames cuts a stream of JSON objects, one watch event each, into texts.
type frames struct {
	r   *bufio.Reader
	buf []byte
}

// maxFrame is far beyond what etcd stores of one object.
const maxFrame = 32 << 20

func newFrames(r io.Reader) *frames {
	return &frames{r: bufio.NewReaderSize(r, 16<<10)}
}

// next returns the text of the next object, which is valid until the call
// after it. io.EOF means a clean end between objects.
func (f *frames) next() ([]byte, error) {
	// A large object must not pin its buffer for the life of the watch.
	if cap(f.buf) > 1<<20 {
		f.buf = nil
	}
	f.buf = f.buf[:0]
	depth, quoted, escaped := 0, false, false
	for {
		if _, err := f.r.Peek(1); err != nil {
			if errors.Is(err, io.EOF) && len(f.buf) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		chunk, _ := f.r.Peek(f.r.Buffered())
		used, done := 0, false
		for used < len(chunk) && !done {
			c := chunk[used]
			switch {
			case escaped:
				escaped = false
				used++
			case quoted:
				// Most of an object stands between quotes: jump there.
				i := bytes.IndexAny(chunk[used:], "\"\\")
				if i < 0 {
					used = len(chunk)
					break
				}
				used += i
				if chunk[used] == '\\' {
					escaped = true
				} else {
					quoted = false
				}
				used++
			default:
				switch c {
				case '"':
					quoted = true
				case '{', '[':
					depth++
				case '}', ']':
					depth--
					done = depth <= 0
				case ' ', '\t', '\r', '\n':
				default:
					if depth == 0 {
						return nil, errSyntax
					}
				}
				used++
				if depth == 0 && quoted {
					return nil, errSyntax
				}
			}
		}
		start := 0
		if len(f.buf) == 0 { // between objects: white space is no beginning
			for start < used && chunk[start] <= ' ' {
				start++
			}
		}
		if len(f.buf)+used-start > maxFrame {
			return nil, errTooLarge
		}
		f.buf = append(f.buf, chunk[start:used]...)
		if _, err := f.r.Discard(used); err != nil {
			return nil, err
		}
		if done {
			return f.buf, nil
		}
	}
}

// nameOf reads metadata.namespace and metadata.name of one object as JSON.
func nameOf(text []byte) (namespace, name string, err error) {
	d := decoder{text: text}
	if d.space() != '{' {
		return "", "", d.syntax()
	}
	err = d.members(func(key string) error {
		if key != "metadata" || d.space() != '{' {
			return d.skip()
		}
		return d.members(func(key string) error {
			if (key != "name" && key != "namespace") || d.space() != '"' {
				return d.skip()
			}
			v, err := d.value()
			if s, ok := v.(string); ok && key == "name" {
				name = s
			} else if ok {
				namespace = s
			}
			return err
		})
	})
	return namespace, name, err
}
