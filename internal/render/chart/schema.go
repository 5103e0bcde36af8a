package chart

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// schemaName is what a schema is called where it refers to itself.
const schemaName = "file:///values.schema.json"

// validate holds values against the schemas of a chart and its subcharts
// (Helm, pkg/chart/common/util, ValidateAgainstSchema).
func (c *instance) validate(values map[string]any) error {
	var wrong strings.Builder
	c.validateInto(&wrong, values)
	if wrong.Len() == 0 {
		return nil
	}
	return &Error{Message: "values don't meet the specifications of the schema(s) in the following chart(s):\n" + strings.TrimRight(wrong.String(), "\n")}
}

func (c *instance) validateInto(wrong *strings.Builder, values map[string]any) {
	if c.Schema != nil {
		if err := c.validateOne(values); err != nil {
			fmt.Fprintf(wrong, "%s:\n%s\n", c.name, err)
		}
	}
	for _, sub := range c.deps {
		value, ok := values[sub.name]
		if !ok || value == nil {
			continue
		}
		below, ok := value.(map[string]any)
		if !ok {
			fmt.Fprintf(wrong, "%s:\ninvalid type for values: expected object (map), got %T\n", sub.name, value)
			continue
		}
		sub.validateInto(wrong, below)
	}
}

func (c *Chart) validateOne(values map[string]any) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errors.New("unable to validate schema")
		}
	}()
	c.schema.once.Do(func() { c.schema.compiled, c.schema.err = compileSchema(c.Schema) })
	if c.schema.err != nil {
		return c.schema.err
	}
	if values == nil {
		values = map[string]any{}
	}
	err = c.schema.compiled.Validate(values)
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return err
	}
	lines := told(nil, invalid)
	slices.Sort(lines)
	return errors.New(strings.Join(slices.Compact(lines), "\n"))
}

func compileSchema(text []byte) (compiled *jsonschema.Schema, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errors.New("unable to read schema")
		}
	}()
	decoded, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	compiler := jsonschema.NewCompiler()
	compiler.UseLoader(noLoader{stub: standIn(decoded)})
	if err := compiler.AddResource(schemaName, decoded); err != nil {
		return nil, err
	}
	return compiler.Compile(schemaName)
}

// noLoader stands for everything that a schema refers to outside of itself. A
// render reads no network: what another server defines is not checked, as Helm
// does with names that it cannot resolve (urn:). Files of the disk are refused.
type noLoader struct{ stub any }

// Load implements jsonschema.URLLoader.
func (l noLoader) Load(address string) (any, error) {
	for _, scheme := range []string{"http://", "https://", "urn:"} {
		if strings.HasPrefix(address, scheme) {
			return l.stub, nil
		}
	}
	return nil, fmt.Errorf("the schema refers to %s, which is no part of it", address)
}

var english = message.NewPrinter(language.English)

// told lists what does not fit, without the values: they may be secret.
func told(lines []string, e *jsonschema.ValidationError) []string {
	for _, cause := range e.Causes {
		lines = told(lines, cause)
	}
	if len(e.Causes) > 0 {
		return lines
	}
	what := "does not fit " + strings.Join(e.ErrorKind.KeywordPath(), "/")
	switch e.ErrorKind.(type) {
	case *kind.Type, *kind.Required, *kind.AdditionalProperties, *kind.FalseSchema, *kind.MinItems, *kind.MaxItems,
		*kind.MinProperties, *kind.MaxProperties, *kind.Dependency, *kind.DependentRequired, *kind.MinLength, *kind.MaxLength:
		what = e.ErrorKind.LocalizedString(english)
	}
	return append(lines, fmt.Sprintf("- at '/%s': %s", strings.Join(e.InstanceLocation, "/"), what))
}

// standIn is a document that has something, which allows everything, at each
// place that a schema names in another document.
func standIn(schema any) any {
	stub := map[string]any{}
	var visit func(value any)
	visit = func(value any) {
		switch v := value.(type) {
		case []any:
			for _, item := range v {
				visit(item)
			}
		case map[string]any:
			ref, _ := v["$ref"].(string)
			if document, pointer, ok := strings.Cut(ref, "#/"); ok && document != "" {
				at := stub
				for _, element := range strings.Split(pointer, "/") {
					below, ok := at[element].(map[string]any)
					if !ok {
						below = map[string]any{}
						at[element] = below
					}
					at = below
				}
			}
			for _, item := range v {
				visit(item)
			}
		}
	}
	visit(schema)
	return stub
}
