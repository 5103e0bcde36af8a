// Package openapi describes a Connect service as an OpenAPI 3.1 document: every
// call is a POST of a JSON object to /package.Service/Method, and answers with
// a JSON object or an error.
package openapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

type object = map[string]any

// Document describes the services of files. Comments in them become
// descriptions. Streaming calls are described as such: they need a Connect or
// gRPC client.
func Document(files []protoreflect.FileDescriptor) ([]byte, error) {
	w := &writer{schemas: object{}}
	paths := object{}
	tags := []any{}
	for _, f := range files {
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			tags = append(tags, object{"name": string(s.Name()), "description": comment(s)})
			for j := range s.Methods().Len() {
				m := s.Methods().Get(j)
				paths["/"+string(s.FullName())+"/"+string(m.Name())] = object{"post": w.method(s, m)}
			}
		}
	}
	w.schemas["Error"] = object{
		"type":        "object",
		"description": "Why a call failed.",
		"properties": object{
			"code":    object{"type": "string", "description": "Such as not_found, permission_denied, unauthenticated or invalid_argument."},
			"message": object{"type": "string"},
		},
	}
	document := object{
		"openapi": "3.1.0",
		"info": object{
			"title":       "Plumb",
			"version":     "v1",
			"description": "The API behind Plumb's console. Fields are written in lowerCamelCase; what is empty is left out; int64 and durations are strings; times are RFC 3339.",
		},
		"tags":     tags,
		"paths":    paths,
		"security": []any{object{"token": []any{}}},
		"components": object{
			"schemas":         w.schemas,
			"securitySchemes": object{"token": object{"type": "http", "scheme": "bearer"}},
		},
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(document); err != nil {
		return nil, fmt.Errorf("write the document: %w", err)
	}
	return out.Bytes(), nil
}

// writer gathers the schemas that calls refer to.
type writer struct{ schemas object }

func (w *writer) method(s protoreflect.ServiceDescriptor, m protoreflect.MethodDescriptor) object {
	content := func(md protoreflect.MessageDescriptor) object {
		return object{"application/json": object{"schema": w.message(md)}}
	}
	description := comment(m)
	if m.IsStreamingServer() {
		description += "\n\nA stream: it needs a Connect or gRPC client."
	}
	return object{
		"operationId": string(s.Name()) + "_" + string(m.Name()),
		"tags":        []any{string(s.Name())},
		"description": description,
		"requestBody": object{"required": true, "content": content(m.Input())},
		"responses": object{
			"200":     object{"description": "The answer.", "content": content(m.Output())},
			"default": object{"description": "An error.", "content": object{"application/json": object{"schema": object{"$ref": "#/components/schemas/Error"}}}},
		},
	}
}

// message refers to a message, and describes it once.
func (w *writer) message(m protoreflect.MessageDescriptor) object {
	switch m.FullName() {
	case "google.protobuf.Timestamp":
		return object{"type": "string", "format": "date-time"}
	case "google.protobuf.FieldMask":
		return object{"type": "string", "description": "Names of fields in lowerCamelCase, separated by commas."}
	}
	name := string(m.Name())
	if _, ok := w.schemas[name]; !ok {
		properties := object{}
		described := object{"type": "object", "properties": properties}
		w.schemas[name] = described
		if c := comment(m); c != "" {
			described["description"] = c
		}
		for i := range m.Fields().Len() {
			f := m.Fields().Get(i)
			properties[f.JSONName()] = w.field(f)
		}
	}
	return object{"$ref": "#/components/schemas/" + name}
}

func (w *writer) field(f protoreflect.FieldDescriptor) object {
	var out object
	switch {
	case f.IsMap():
		out = object{"type": "object", "additionalProperties": w.single(f.MapValue())}
	case f.IsList():
		out = object{"type": "array", "items": w.single(f)}
	default:
		out = w.single(f)
	}
	if c := comment(f); c != "" {
		out["description"] = c
	}
	return out
}

func (w *writer) single(f protoreflect.FieldDescriptor) object {
	switch f.Kind() {
	case protoreflect.MessageKind:
		return w.message(f.Message())
	case protoreflect.BoolKind:
		return object{"type": "boolean"}
	case protoreflect.Int32Kind, protoreflect.Uint32Kind:
		return object{"type": "integer", "format": "int32"}
	case protoreflect.Int64Kind, protoreflect.Uint64Kind:
		return object{"type": "string", "format": "int64"}
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		return object{"type": "number"}
	case protoreflect.BytesKind:
		return object{"type": "string", "contentEncoding": "base64"}
	}
	return object{"type": "string"}
}

// comment is what stands above a descriptor, or behind it on its line.
func comment(d protoreflect.Descriptor) string {
	at := d.ParentFile().SourceLocations().ByDescriptor(d)
	text := at.LeadingComments
	if strings.TrimSpace(text) == "" {
		text = at.TrailingComments
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "\n")
}
