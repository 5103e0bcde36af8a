package api

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/object"
)

// nothingDeclared is a world of rows alone.
type nothingDeclared struct{}

func (nothingDeclared) IDs() []object.ID                                         { return nil }
func (nothingDeclared) Declared(object.ID) (*unstructured.Unstructured, string)  { return nil, "" }
func (nothingDeclared) MadeBy(object.ID) (object.ID, bool)                       { return object.ID{}, false }
func (nothingDeclared) Of(schema.GroupKind) ([]*unstructured.Unstructured, bool) { return nil, true }
func (nothingDeclared) Unheard() string                                          { return "" }
