// Package wire reads and writes the messages of Argo CD's API.
//
//	map[string]any ──Type.Marshal──▶ bytes of a message ──Type.Unmarshal──▶ map[string]any
//
// A message is held as what it is in JSON, in the form that
// unstructured.Unstructured has, so that an Application goes from the cluster to
// a caller and back without a type of its own. What a message is made of is said
// in proto/*.proto, which is compiled at first use: there is nothing generated.
//
// Go's own types of Argo CD decide what a zero is: see proto/v1alpha1.proto.
package wire

import (
	"context"
	"embed"
	"fmt"
	"io"
	"path"
	"strings"
	"sync"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

//go:embed proto/*.proto
var sources embed.FS

// Schema is every service and message that is known.
type Schema struct {
	types   map[protoreflect.FullName]*Type
	methods []*Method
}

// Method is one call of a service.
type Method struct {
	Service string // such as "application.ApplicationService"
	Name    string // such as "List"
	Input   *Type
	Output  *Type
	// ClientStream and ServerStream say which side sends more than one message.
	ClientStream, ServerStream bool
	Descriptor                 protoreflect.MethodDescriptor
}

// Path is where the call is made: /application.ApplicationService/List.
func (m *Method) Path() string { return "/" + m.Service + "/" + m.Name }

// Type is a kind of message.
type Type struct {
	name     protoreflect.FullName
	fields   []*field
	byNumber map[protowire.Number]*field
	form     form // how the message looks in JSON, where it is no map of its fields
}

// field is one field of a Type.
type field struct {
	number   protowire.Number
	name     string // in JSON
	kind     protoreflect.Kind
	presence presence
	repeated bool
	packed   bool
	inline   bool   // its own fields stand among those of the message that has it
	message  *Type  // of a field that is a message
	key, val *field // of a map
}

// presence says what becomes of the zero of a plain value.
type presence int

const (
	implicit presence = iota // it is not there
	explicit                 // it is told from one that is not there
	always                   // it is there always
)

// inlined are the fields whose content stands, in JSON, among the fields beside
// them: Go's embedded structs.
var inlined = map[protoreflect.FullName]bool{
	"v1alpha1.ApplicationSourcePluginParameter.map":   true,
	"v1alpha1.ApplicationSourcePluginParameter.array": true,
	"v1alpha1.KustomizeResId.gvk":                     true,
	"v1alpha1.KustomizeSelector.resId":                true,
	"v1alpha1.ResourceNode.resourceRef":               true,
	"v1alpha1.SyncStrategyHook.syncStrategyApply":     true,
}

// Known compiles the schema once. The error is a mistake in proto/*.proto.
var Known = sync.OnceValues(compile)

func compile() (*Schema, error) {
	entries, err := sources.ReadDir("proto")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	compiler := protocompile.Compiler{
		Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{
			Accessor: func(name string) (io.ReadCloser, error) { return sources.Open(path.Join("proto", name)) },
		}),
	}
	files, err := compiler.Compile(context.Background(), names...)
	if err != nil {
		return nil, fmt.Errorf("compile the messages of Argo CD's API: %w", err)
	}
	s := &Schema{types: map[protoreflect.FullName]*Type{}}
	for _, file := range files {
		services := file.Services()
		for i := range services.Len() {
			methods := services.Get(i).Methods()
			for j := range methods.Len() {
				m := methods.Get(j)
				s.methods = append(s.methods, &Method{
					Service: string(services.Get(i).FullName()), Name: string(m.Name()),
					Input: s.typeOf(m.Input()), Output: s.typeOf(m.Output()),
					ClientStream: m.IsStreamingClient(), ServerStream: m.IsStreamingServer(),
					Descriptor: m,
				})
			}
		}
	}
	return s, nil
}

// Methods are all calls of all services.
func (s *Schema) Methods() []*Method { return s.methods }

// Type is the message with a name, such as "v1alpha1.Application", if a call
// uses it.
func (s *Schema) Type(name string) (*Type, bool) {
	t, ok := s.types[protoreflect.FullName(name)]
	return t, ok
}

// Name is the name of the message in proto/*.proto.
func (t *Type) Name() string { return string(t.name) }

func (s *Schema) typeOf(d protoreflect.MessageDescriptor) *Type {
	if t, ok := s.types[d.FullName()]; ok {
		return t
	}
	t := &Type{name: d.FullName(), byNumber: map[protowire.Number]*field{}, form: forms[d.FullName()]}
	s.types[t.name] = t
	for i := range d.Fields().Len() {
		f := s.fieldOf(d.Fields().Get(i))
		t.fields = append(t.fields, f)
		t.byNumber[f.number] = f
	}
	return t
}

func (s *Schema) fieldOf(d protoreflect.FieldDescriptor) *field {
	f := &field{number: d.Number(), name: string(d.Name()), kind: d.Kind(), inline: inlined[d.FullName()]}
	switch {
	case d.IsMap():
		f.key, f.val = s.fieldOf(d.MapKey()), s.fieldOf(d.MapValue())
	case d.IsList():
		f.repeated, f.packed = true, d.IsPacked()
	case d.Cardinality() == protoreflect.Required:
		f.presence = always
	case d.HasPresence():
		f.presence = explicit
	}
	if f.key == nil && d.Message() != nil {
		f.message = s.typeOf(d.Message())
	}
	return f
}

// Field reports whether messages of the type have a field, by a path of names
// with dots.
func (t *Type) Field(dotted string) bool {
	first, rest, more := strings.Cut(dotted, ".")
	for _, f := range t.fields {
		switch {
		case f.inline && f.message.Field(dotted):
			return true
		case f.name != first || f.inline:
		case !more:
			return true
		default:
			return f.message != nil && f.message.Field(rest)
		}
	}
	return false
}
