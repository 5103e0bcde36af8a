package flux

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

const kindExternalArtifact = "ExternalArtifact"

// annotationCaptures is on an ExternalArtifact of a generator with a path
// pattern: what the pattern's variables stand for, as the paths have it (labels
// have it in lower case).
const annotationCaptures = "plumb.dev/captures"

// externalArtifact reads an ExternalArtifact (source-controller api/v1
// externalartifact_types.go): one that an ArtifactGenerator makes is made here,
// of any other the status tells where its artifact is.
func externalArtifact(c *sourceCompilation, spec node) {
	ref := spec.At("sourceRef")
	version, kind, name, namespace := ref.At("apiVersion").Str(), ref.At("kind").Str(), ref.At("name").Str(), ref.At("namespace").Str()
	if !isGenerated(version, kind) {
		c.served()
		return
	}
	c.source.Interval = defaultGeneratorInterval
	c.source.Generated = &model.GeneratedSource{Name: c.r.ID.Name}
	if name == "" || namespace != "" && namespace != c.r.ID.Namespace {
		ref.Invalid("names no ArtifactGenerator of namespace %s", c.r.ID.Namespace)
		return
	}
	need := model.Need{Group: GroupExtensions, Version: "v1beta1", Kind: kindArtifactGenerator, Namespace: c.r.ID.Namespace, Name: name}
	if declared := c.object(need, ref.Path, reasonSourceFetchFailed, "get sources failed: "); declared != nil {
		c.generatedBy(declared, ref.Path)
	}
}

func isGenerated(version, kind string) bool {
	gv, err := schema.ParseGroupVersion(version)
	return err == nil && gv.Group == GroupExtensions && kind == kindArtifactGenerator
}

// generated reports whether the artifact of an ExternalArtifact is made here.
func generated(o *unstructured.Unstructured) bool {
	version, _, _ := unstructured.NestedString(o.Object, "spec", "sourceRef", "apiVersion")
	kind, _, _ := unstructured.NestedString(o.Object, "spec", "sourceRef", "kind")
	return isGenerated(version, kind)
}

// served is what others made, as the status tells. Without an artifact there is
// no address yet.
func (c *sourceCompilation) served() {
	c.source.Interval = time.Minute // GetRequeueAfter
	c.source.External = &model.ExternalSource{}
	if last := c.source.Last; last != nil {
		c.source.External.URL, c.source.External.Digest, c.source.External.Revision = last.URL, last.Digest, last.Revision
	}
}

// generatedBy makes the source of what the generator says of this artifact.
func (c *sourceCompilation) generatedBy(declared *unstructured.Unstructured, field string) {
	r := reader.New(Name, reasonValidationFailed, object.Of(declared))
	g := readGenerator(r.Root("spec", declared.Object["spec"]), c.r.ID.Namespace, c.settings)
	if fault := r.First(); fault != nil {
		c.r.Fail(fault, field)
		return
	}
	c.source.Suspended = disabled(declared)
	captures, err := capturesOf(c.declared)
	if err != nil {
		c.r.Fault(&model.Fault{Reason: reasonValidationFailed, Message: "annotation " + annotationCaptures + ": " + err.Error(), Advice: "let the ArtifactGenerator make the object anew", Origin: model.Origin{Field: "metadata.annotations"}})
		return
	}
	made, err := g.artifact(c.r.ID.Name, captures)
	if err != nil {
		c.r.Fault(&model.Fault{Reason: reasonSourceFetchFailed, Message: fmt.Sprintf("ArtifactGenerator %s: %s", declared.GetName(), err), Origin: model.Origin{Field: field}, Retry: true})
		return
	}
	c.source.Generated = made
}

// capturesOf reads the annotation. Values are names of directories, so that no
// path that they are put into leaves its place.
func capturesOf(declared *unstructured.Unstructured) (map[string]string, error) {
	text := declared.GetAnnotations()[annotationCaptures]
	if text == "" {
		return nil, nil
	}
	var captures map[string]string
	if err := json.Unmarshal([]byte(text), &captures); err != nil {
		return nil, fmt.Errorf("is no JSON map of strings")
	}
	for _, name := range reader.SortedKeys(captures) {
		if value := captures[name]; value == "" || value == "." || value == ".." || strings.ContainsAny(value, "/\\*?[]{}") {
			return nil, fmt.Errorf("the value of %q is no name of a directory", reader.Clip(name, 63))
		}
	}
	return captures, nil
}
