package main

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"golang.org/x/mod/sumdb/dirhash"
	apiext "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// Argo CD has no module of its types alone, and its whole module asks for a
// newer Go than ours. Its definitions are taken from the files that upstream
// generated from the types of the same release, out of the module's archive.
// The sum is what go.sum would hold.
const (
	argoModule  = "github.com/argoproj/argo-cd/v3"
	argoVersion = "v3.6.1"
	argoSum     = "h1:OmhqeKiR3C//awbFrhQqFdtRI+Qiv17j8vqm3UkMj/g="
)

// argoFiles are upstream's definitions, below the module's root.
var argoFiles = []string{
	"manifests/crds/application-crd.yaml",
	"manifests/crds/applicationset-crd.yaml",
	"manifests/crds/appproject-crd.yaml",
}

const maxDefinition = 16 << 20 // bytes of one file

// argo reads the definitions of Argo CD, without their descriptions.
func argo() ([]*apiext.CustomResourceDefinition, error) {
	path, err := download(argoModule, argoVersion, argoSum)
	if err != nil {
		return nil, err
	}
	archive, err := zip.OpenReader(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = archive.Close() }()
	var definitions []*apiext.CustomResourceDefinition
	for _, name := range argoFiles {
		definition, err := definitionIn(&archive.Reader, argoModule+"@"+argoVersion+"/"+name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		definitions = append(definitions, definition)
	}
	return definitions, nil
}

// download has the go command fetch a module's archive, and returns its path.
// The command complains about the version of Go that the module asks for, but
// only once the archive is there.
func download(module, version, sum string) (string, error) {
	outside, err := os.MkdirTemp("", "gen")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(outside) }()
	command := exec.Command("go", "mod", "download", "-json", module+"@"+version)
	command.Dir = outside // the module is no dependency of this one
	out, failure := command.Output()
	var answer struct{ Zip, Error string }
	if err := json.Unmarshal(out, &answer); err != nil {
		return "", errors.Join(failure, err)
	}
	if answer.Zip == "" {
		return "", fmt.Errorf("%s %s: %s", module, version, answer.Error)
	}
	got, err := dirhash.HashZip(answer.Zip, dirhash.Hash1)
	if err != nil {
		return "", err
	}
	if got != sum {
		return "", fmt.Errorf("%s %s has the sum %s, not %s", module, version, got, sum)
	}
	return answer.Zip, nil
}

func definitionIn(archive *zip.Reader, name string) (*apiext.CustomResourceDefinition, error) {
	file, err := archive.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	text, err := io.ReadAll(io.LimitReader(file, maxDefinition+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxDefinition {
		return nil, errors.New("the file is too large")
	}
	definition := &apiext.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict(bytes.TrimSpace(text), definition); err != nil {
		return nil, err
	}
	for i := range definition.Spec.Versions {
		root := definition.Spec.Versions[i].Schema.OpenAPIV3Schema
		undescribe(root)
		if definition.Spec.Names.Kind == "ApplicationSet" {
			if err := freeTemplates(root); err != nil {
				return nil, err
			}
		}
	}
	return definition, nil
}

// freeTemplates lets a generator's template hold anything. Upstream repeats the
// whole schema of Application in each of the generators, and again in those
// that matrix and merge nest: an API server that holds all of that takes two
// and a half times the memory. What users write is kept, and the dialect, which
// reads a template by the list of fields that it has anyway, reports those that
// are unknown or of the wrong type. The template of the set itself stays as it is.
func freeTemplates(root *apiext.JSONSchemaProps) error {
	generators := root.Properties["spec"].Properties["generators"]
	if freed := freeTemplatesOf(&generators); freed == 0 {
		return errors.New("spec.generators has no templates any more: remove freeTemplates")
	}
	root.Properties["spec"].Properties["generators"] = generators
	return nil
}

// freeTemplatesOf returns how many templates it found in a list of generators.
func freeTemplatesOf(generators *apiext.JSONSchemaProps) int {
	if generators.Items == nil || generators.Items.Schema == nil {
		return 0
	}
	freed := 0
	for name, generator := range generators.Items.Schema.Properties {
		if _, ok := generator.Properties["template"]; ok {
			generator.Properties["template"] = apiext.JSONSchemaProps{Type: "object", XPreserveUnknownFields: pointer(true)}
			freed++
		}
		if nested, ok := generator.Properties["generators"]; ok {
			freed += freeTemplatesOf(&nested)
			generator.Properties["generators"] = nested
		}
		generators.Items.Schema.Properties[name] = generator
	}
	return freed
}

// undescribe removes what explains a field, as the parser of Flux's types is
// told to.
func undescribe(schema *apiext.JSONSchemaProps) {
	schema.Description = ""
	for name, property := range schema.Properties {
		undescribe(&property)
		schema.Properties[name] = property
	}
	if schema.Items != nil && schema.Items.Schema != nil {
		undescribe(schema.Items.Schema)
	}
	if schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil {
		undescribe(schema.AdditionalProperties.Schema)
	}
	for _, alternatives := range [][]apiext.JSONSchemaProps{schema.AllOf, schema.AnyOf, schema.OneOf} {
		for i := range alternatives {
			undescribe(&alternatives[i])
		}
	}
}
