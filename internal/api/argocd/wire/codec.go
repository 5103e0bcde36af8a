package wire

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// maxDepth bounds how deep messages may lie in each other. ApplicationSets nest
// generators three deep; nothing that is meant comes near.
const maxDepth = 64

// Marshal writes a message. A field that the message does not have is left out,
// as a typed server would, and so is a value of another type than its field's.
func (t *Type) Marshal(value map[string]any) []byte {
	return t.marshal(nil, value)
}

func (t *Type) marshal(b []byte, value map[string]any) []byte {
	for _, f := range t.fields {
		b = f.marshal(b, value)
	}
	return b
}

func (f *field) marshal(b []byte, parent map[string]any) []byte {
	if f.inline {
		if !f.message.touches(parent) {
			return b
		}
		return f.appendMessage(b, f.message.marshal(nil, parent))
	}
	value, there := parent[f.name]
	there = there && value != nil
	switch {
	case f.key != nil:
		entries, _ := value.(map[string]any)
		return f.marshalMap(b, entries)
	case f.repeated:
		return f.marshalList(b, list(value))
	case !there && f.presence != always:
		return b
	}
	return f.marshalOne(b, value, f.presence == implicit)
}

// touches reports whether a map has any field of the type.
func (t *Type) touches(value map[string]any) bool {
	for _, f := range t.fields {
		if f.inline {
			if f.message.touches(value) {
				return true
			}
		} else if _, ok := value[f.name]; ok {
			return true
		}
	}
	return false
}

// marshalOne writes one value; a zero only where it means something.
func (f *field) marshalOne(b []byte, value any, omitZero bool) []byte {
	if f.message != nil {
		raw, ok := f.message.marshalValue(value)
		if !ok && f.presence != always {
			return b
		}
		return f.appendMessage(b, raw)
	}
	raw, zero, ok := f.scalar(value)
	if !ok {
		if f.presence != always {
			return b
		}
		raw, _, _ = f.scalar(f.zero())
	}
	if ok && zero && omitZero {
		return b
	}
	b = protowire.AppendTag(b, f.number, f.wireType())
	return append(b, raw...)
}

// marshalValue writes a message without its tag.
func (t *Type) marshalValue(value any) ([]byte, bool) {
	if t.form != nil {
		return t.form.marshal(value)
	}
	fields, ok := value.(map[string]any)
	if !ok {
		return t.marshal(nil, nil), false
	}
	return t.marshal(nil, fields), true
}

func (f *field) marshalMap(b []byte, entries map[string]any) []byte {
	for _, k := range slices.Sorted(maps.Keys(entries)) {
		entry := f.key.marshalOne(nil, k, false)
		entry = f.val.marshalOne(entry, entries[k], false)
		b = f.appendMessage(b, entry)
	}
	return b
}

func (f *field) marshalList(b []byte, items []any) []byte {
	if !f.packed || len(items) == 0 {
		for _, item := range items {
			if item != nil {
				b = f.marshalOne(b, item, false)
			}
		}
		return b
	}
	var all []byte
	for _, item := range items {
		if raw, _, ok := f.scalar(item); ok {
			all = append(all, raw...)
		}
	}
	return f.appendMessage(b, all)
}

func (f *field) appendMessage(b, raw []byte) []byte {
	b = protowire.AppendTag(b, f.number, protowire.BytesType)
	return protowire.AppendBytes(b, raw)
}

func (f *field) wireType() protowire.Type {
	switch f.kind {
	case protoreflect.StringKind, protoreflect.BytesKind, protoreflect.MessageKind, protoreflect.GroupKind:
		return protowire.BytesType
	case protoreflect.DoubleKind, protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind:
		return protowire.Fixed64Type
	case protoreflect.FloatKind, protoreflect.Fixed32Kind, protoreflect.Sfixed32Kind:
		return protowire.Fixed32Type
	}
	return protowire.VarintType
}

// scalar writes a plain value without its tag.
func (f *field) scalar(value any) (raw []byte, zero, ok bool) {
	switch f.kind {
	case protoreflect.StringKind:
		s, ok := value.(string)
		return protowire.AppendString(nil, s), s == "", ok
	case protoreflect.BytesKind:
		s, ok := value.(string)
		content, err := base64.StdEncoding.DecodeString(s)
		return protowire.AppendBytes(nil, content), len(content) == 0, ok && err == nil
	case protoreflect.BoolKind:
		v, ok := value.(bool)
		return protowire.AppendVarint(nil, protowire.EncodeBool(v)), !v, ok
	case protoreflect.DoubleKind:
		v, ok := decimal(value)
		return protowire.AppendFixed64(nil, math.Float64bits(v)), v == 0, ok
	default:
		n, ok := integer(value)
		return protowire.AppendVarint(nil, uint64(n)), n == 0, ok
	}
}

func (f *field) zero() any {
	switch f.kind {
	case protoreflect.StringKind, protoreflect.BytesKind:
		return ""
	case protoreflect.BoolKind:
		return false
	case protoreflect.DoubleKind:
		return float64(0)
	}
	return int64(0)
}

// list is a value as a list.
func list(value any) []any {
	switch v := value.(type) {
	case []any:
		return v
	case []string:
		out := make([]any, len(v))
		for i, s := range v {
			out[i] = s
		}
		return out
	case []map[string]any:
		out := make([]any, len(v))
		for i, m := range v {
			out[i] = m
		}
		return out
	}
	return nil
}

// integer is a number of JSON as a whole one.
func integer(value any) (int64, bool) {
	switch v := value.(type) {
	case int64:
		return v, true
	case int:
		return int64(v), true
	case int32:
		return int64(v), true
	case float64:
		return int64(v), v == math.Trunc(v) && math.Abs(v) < 1<<53
	case json.Number:
		n, err := v.Int64()
		return n, err == nil
	}
	return 0, false
}

func decimal(value any) (float64, bool) {
	switch v := value.(type) {
	case float64:
		return v, true
	case int64:
		return float64(v), true
	}
	return 0, false
}

// Unmarshal reads a message. unknown are the fields that the type does not have
// and that are not zero: path and number of each, at most a handful.
func (t *Type) Unmarshal(b []byte) (value map[string]any, unknown []string, err error) {
	r := reader{}
	value, err = r.message(t, b, "", 0)
	return value, r.unknown, err
}

// maxUnknown bounds the report of unknown fields.
const maxUnknown = 10

type reader struct{ unknown []string }

var errTooDeep = errors.New("messages lie too deep in each other")

func (r *reader) message(t *Type, b []byte, path string, depth int) (map[string]any, error) {
	if depth > maxDepth {
		return nil, errTooDeep
	}
	out := map[string]any{}
	err := eachField(b, func(n protowire.Number, wt protowire.Type, raw []byte, number uint64) error {
		f := t.byNumber[n]
		if f == nil {
			r.report(path, n, raw, number)
			return nil
		}
		return r.field(f, out, wt, raw, number, path, depth)
	})
	if err != nil {
		return nil, err
	}
	for _, f := range t.fields {
		if _, there := out[f.name]; !there && f.presence == always && f.message == nil {
			out[f.name] = f.zero()
		}
	}
	return out, nil
}

func (r *reader) report(path string, n protowire.Number, raw []byte, number uint64) {
	if len(raw) == 0 && number == 0 || len(r.unknown) >= maxUnknown {
		return
	}
	if path == "" {
		path = "message"
	}
	r.unknown = append(r.unknown, fmt.Sprintf("%s field %d", path, n))
}

// field puts one field into a message.
func (r *reader) field(f *field, out map[string]any, wt protowire.Type, raw []byte, number uint64, path string, depth int) error {
	at := f.name
	if path != "" {
		at = path + "." + f.name
	}
	switch {
	case f.inline:
		inner, err := r.message(f.message, raw, path, depth+1)
		if err != nil {
			return err
		}
		f.message.keepEmpty(inner)
		maps.Copy(out, inner)
		return nil
	case f.key != nil:
		return r.entry(f, out, raw, at, depth)
	case f.repeated && f.message == nil && wt == protowire.BytesType && f.wireType() != protowire.BytesType:
		items, err := f.unpack(raw)
		if err != nil {
			return err
		}
		out[f.name] = append(list(out[f.name]), items...)
		return nil
	}
	value, err := r.value(f, wt, raw, number, at, depth)
	if err != nil || value == nil {
		return err
	}
	switch {
	case f.repeated:
		out[f.name] = append(list(out[f.name]), value)
	case f.message == nil && f.presence == implicit && value == f.zero():
		delete(out, f.name)
	default:
		out[f.name] = merged(out[f.name], value)
	}
	return nil
}

// merged is what a message becomes that comes in two pieces.
func merged(before, value any) any {
	was, ok := before.(map[string]any)
	is, also := value.(map[string]any)
	if !ok || !also {
		return value
	}
	maps.Copy(was, is)
	return was
}

// keepEmpty puts the one list or map of an inlined message where it is empty:
// the message being there says that it is.
func (t *Type) keepEmpty(value map[string]any) {
	if len(t.fields) != 1 || len(value) != 0 {
		return
	}
	switch f := t.fields[0]; {
	case f.key != nil:
		value[f.name] = map[string]any{}
	case f.repeated:
		value[f.name] = []any{}
	}
}

func (r *reader) entry(f *field, out map[string]any, raw []byte, path string, depth int) error {
	var k string
	var v any
	err := eachField(raw, func(n protowire.Number, wt protowire.Type, raw []byte, number uint64) error {
		var err error
		switch n {
		case 1:
			k = string(raw)
		case 2:
			v, err = r.value(f.val, wt, raw, number, path, depth)
		}
		return err
	})
	if err != nil {
		return err
	}
	if !utf8.ValidString(k) {
		return fmt.Errorf("%s: a key is no valid text", path)
	}
	if v == nil {
		if v = f.val.zero(); f.val.message != nil {
			v = map[string]any{}
		}
	}
	entries, _ := out[f.name].(map[string]any)
	if entries == nil {
		entries = map[string]any{}
		out[f.name] = entries
	}
	entries[k] = v
	return nil
}

// value reads one value.
func (r *reader) value(f *field, wt protowire.Type, raw []byte, number uint64, path string, depth int) (any, error) {
	if wt != f.wireType() {
		return nil, fmt.Errorf("%s is written as another type", path)
	}
	switch f.kind {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		if f.message.form != nil {
			value, err := f.message.form.unmarshal(raw)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			return value, nil
		}
		return r.message(f.message, raw, path, depth+1)
	case protoreflect.StringKind:
		if !utf8.Valid(raw) {
			return nil, fmt.Errorf("%s is no valid text", path)
		}
		return string(raw), nil
	case protoreflect.BytesKind:
		return base64.StdEncoding.EncodeToString(raw), nil
	case protoreflect.DoubleKind:
		return math.Float64frombits(number), nil
	}
	return f.number64(number), nil
}

// number64 is a varint as what it stands for.
func (f *field) number64(number uint64) any {
	switch f.kind {
	case protoreflect.BoolKind:
		return number != 0
	case protoreflect.Int32Kind:
		return int64(int32(number))
	case protoreflect.Uint32Kind:
		return int64(uint32(number))
	}
	return int64(number)
}

func (f *field) unpack(raw []byte) ([]any, error) {
	var out []any
	for len(raw) > 0 {
		number, n := protowire.ConsumeVarint(raw)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		out = append(out, f.number64(number))
		raw = raw[n:]
	}
	return out, nil
}

// eachField calls back for every field of a message: raw for bytes, number for
// the others.
func eachField(b []byte, each func(n protowire.Number, t protowire.Type, raw []byte, number uint64) error) error {
	for len(b) > 0 {
		n, t, size := protowire.ConsumeTag(b)
		if size < 0 {
			return protowire.ParseError(size)
		}
		b = b[size:]
		var raw []byte
		var number uint64
		switch t {
		case protowire.VarintType:
			number, size = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			raw, size = protowire.ConsumeBytes(b)
		case protowire.Fixed64Type:
			number, size = protowire.ConsumeFixed64(b)
		case protowire.Fixed32Type:
			var short uint32
			short, size = protowire.ConsumeFixed32(b)
			number = uint64(short)
		default:
			size = protowire.ConsumeFieldValue(n, t, b)
		}
		if size < 0 {
			return protowire.ParseError(size)
		}
		if err := each(n, t, raw, number); err != nil {
			return err
		}
		b = b[size:]
	}
	return nil
}

// Set puts texts, as a query of HTTP has them, into a field, named by a path
// with dots. A field of a message that is a list takes all of them, others the
// last.
func (t *Type) Set(value map[string]any, dotted string, in []string) error {
	first, rest, more := strings.Cut(dotted, ".")
	for _, f := range t.fields {
		if f.name != first || f.inline || len(in) == 0 {
			continue
		}
		if more {
			if f.message == nil || f.repeated {
				return fmt.Errorf("%s has no fields", first)
			}
			inner, _ := value[first].(map[string]any)
			if inner == nil {
				inner = map[string]any{}
				value[first] = inner
			}
			return f.message.Set(inner, rest, in)
		}
		return f.set(value, in)
	}
	return fmt.Errorf("there is no field %q", first)
}

func (f *field) set(value map[string]any, in []string) error {
	if f.key != nil || f.message != nil && f.message.form == nil {
		return fmt.Errorf("%s is no plain value", f.name)
	}
	all := make([]any, 0, len(in))
	for _, text := range in {
		v, err := f.parse(text)
		if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		all = append(all, v)
	}
	if f.repeated {
		value[f.name] = all
	} else {
		value[f.name] = all[len(all)-1]
	}
	return nil
}

func (f *field) parse(text string) (any, error) {
	switch f.kind {
	case protoreflect.BoolKind:
		return strconv.ParseBool(text)
	case protoreflect.StringKind, protoreflect.BytesKind, protoreflect.MessageKind:
		return text, nil
	case protoreflect.DoubleKind:
		return strconv.ParseFloat(text, 64)
	}
	return strconv.ParseInt(text, 10, 64)
}
