package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
	kubejson "k8s.io/apimachinery/pkg/util/json"
)

// form is how a message looks in JSON where it is no map of its fields.
type form interface {
	// marshal returns the fields of the message; ok is false for a value that is
	// none of this form.
	marshal(value any) (message []byte, ok bool)
	// unmarshal returns the value; nil for one that is not there.
	unmarshal(message []byte) (any, error)
}

// forms are the messages of Kubernetes that have one (the MarshalJSON of
// metav1.Time, metav1.MicroTime, intstr.IntOrString, apiextensions JSON,
// runtime.RawExtension and metav1.FieldsV1).
var forms = map[protoreflect.FullName]form{
	"kubernetes.Time":         moment{time.RFC3339},
	"kubernetes.MicroTime":    moment{"2006-01-02T15:04:05.000000Z07:00"},
	"kubernetes.JSON":         document{},
	"kubernetes.RawExtension": document{},
	"kubernetes.FieldsV1":     document{},
	"kubernetes.IntOrString":  intOrString{},
}

// moment is a time; a message without fields is the zero time, which JSON has as
// null.
type moment struct{ layout string }

func (moment) marshal(value any) ([]byte, bool) {
	text, ok := value.(string)
	if !ok {
		return nil, false
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return nil, false
	}
	if t.IsZero() {
		return nil, true
	}
	b := protowire.AppendTag(nil, 1, protowire.VarintType)
	b = protowire.AppendVarint(b, uint64(t.Unix()))
	b = protowire.AppendTag(b, 2, protowire.VarintType)
	return protowire.AppendVarint(b, uint64(t.Nanosecond())), true
}

func (m moment) unmarshal(message []byte) (any, error) {
	if len(message) == 0 {
		return nil, nil
	}
	var seconds, nanos int64
	err := eachField(message, func(n protowire.Number, t protowire.Type, raw []byte, number uint64) error {
		switch {
		case n == 1 && t == protowire.VarintType:
			seconds = int64(number)
		case n == 2 && t == protowire.VarintType:
			nanos = int64(int32(number))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	at := time.Unix(seconds, nanos).UTC()
	if at.Year() < 0 || at.Year() > 9999 {
		return nil, fmt.Errorf("%d is no moment that can be written", seconds)
	}
	if at.IsZero() {
		return nil, nil
	}
	return at.Format(m.layout), nil
}

// document is any JSON.
type document struct{}

func (document) marshal(value any) ([]byte, bool) {
	if value == nil {
		return nil, false
	}
	raw, err := json.Marshal(value)
	if err != nil {
		return nil, false
	}
	b := protowire.AppendTag(nil, 1, protowire.BytesType)
	return protowire.AppendBytes(b, raw), true
}

func (document) unmarshal(message []byte) (any, error) {
	var value any
	err := eachField(message, func(n protowire.Number, t protowire.Type, raw []byte, _ uint64) error {
		raw = bytes.TrimSpace(raw)
		if n != 1 || t != protowire.BytesType || len(raw) == 0 {
			return nil
		}
		return kubejson.Unmarshal(raw, &value)
	})
	return value, err
}

// intOrString is a number or a text.
type intOrString struct{}

func (intOrString) marshal(value any) ([]byte, bool) {
	if text, ok := value.(string); ok {
		b := protowire.AppendTag(nil, 1, protowire.VarintType)
		b = protowire.AppendVarint(b, 1)
		b = protowire.AppendTag(b, 3, protowire.BytesType)
		return protowire.AppendString(b, text), true
	}
	n, ok := integer(value)
	if !ok {
		return nil, false
	}
	b := protowire.AppendTag(nil, 1, protowire.VarintType)
	b = protowire.AppendVarint(b, 0)
	b = protowire.AppendTag(b, 2, protowire.VarintType)
	return protowire.AppendVarint(b, uint64(n)), true
}

func (intOrString) unmarshal(message []byte) (any, error) {
	var isText bool
	var number int64
	var text string
	err := eachField(message, func(n protowire.Number, t protowire.Type, raw []byte, value uint64) error {
		switch {
		case n == 1 && t == protowire.VarintType:
			isText = value == 1
		case n == 2 && t == protowire.VarintType:
			number = int64(int32(value))
		case n == 3 && t == protowire.BytesType:
			text = string(raw)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if isText {
		return text, nil
	}
	return number, nil
}
