package cli

import (
	"cmp"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/object"
)

// The other groups, and kinds that are told apart by their name.
const (
	helmGroup      = "helm.toolkit.fluxcd.io"
	generatorGroup = "source.extensions.fluxcd.io"

	gitRepositoryKind    = "GitRepository"
	ociRepositoryKind    = "OCIRepository"
	bucketKind           = "Bucket"
	helmRepositoryKind   = "HelmRepository"
	externalArtifactKind = "ExternalArtifact"
	helmReleaseKind      = "HelmRelease"
	generatorKind        = "ArtifactGenerator"
)

// fetchedKind is a kind of source that is fetched from an address.
func fetchedKind(kind, word string, more ...column) *declaredKind {
	return &declaredKind{
		group:      schema.GroupKind{Group: sourceGroup, Kind: kind},
		human:      sources.singular + " " + word,
		singular:   word,
		plural:     word,
		family:     sources,
		suspends:   true,
		reconciles: true,
		revision:   artifactRevision,
		done:       "fetched revision",
		idiom:      fluxIdiom{},
		columns:    fluxColumns(artifactRevision, more...),
	}
}

var urlColumn = column{name: "URL", when: wide, cell: func(_ *app, o *unstructured.Unstructured) string { return addressOf(o) }}

var (
	gitRepositories  = fetchedKind(gitRepositoryKind, "git", urlColumn)
	ociRepositories  = fetchedKind(ociRepositoryKind, "oci", urlColumn)
	buckets          = fetchedKind(bucketKind, "bucket", urlColumn)
	helmRepositories = repositoriesOfCharts()
	helmCharts       = chartsOfRepositories()
	// What makes an artifact looks after it.
	externalArtifacts = &declaredKind{
		group:    schema.GroupKind{Group: sourceGroup, Kind: externalArtifactKind},
		human:    "source external-artifact",
		singular: "external-artifact",
		plural:   "external-artifact",
		aliases:  []string{"external"},
		family:   sources,
		revision: artifactRevision,
		idiom:    fluxIdiom{},
		columns: []column{
			revisionColumn(artifactRevision), sourceColumn(nil), readyColumn, ageColumn, messageColumn,
		},
	}
	artifactGenerators = &declaredKind{
		group:      schema.GroupKind{Group: generatorGroup, Kind: generatorKind},
		human:      "artifact generator",
		singular:   "generator",
		plural:     "generators",
		aliases:    []string{"artifactgenerator", "artifactgenerators"},
		family:     artifacts,
		delivery:   true,
		suspends:   true,
		reconciles: true,
		file:       "generator-file",
		revision:   func(*unstructured.Unstructured) string { return "" },
		done:       "generated",
		idiom:      generatorIdiom{},
		columns:    []column{suspendedColumn, readyColumn, ageColumn, messageColumn},
	}
)

// repositoriesOfCharts: those of type oci have no index, and are never looked at.
func repositoriesOfCharts() *declaredKind {
	kind := fetchedKind(helmRepositoryKind, "helm", urlColumn)
	kind.static = func(o *unstructured.Unstructured) string {
		if !ociRepository(o) {
			return ""
		}
		return "a repository of type oci has no index: its charts are looked at one by one"
	}
	return kind
}

func ociRepository(o *unstructured.Unstructured) bool {
	return o.GetKind() == helmRepositoryKind && text(o, "spec", "type") == "oci"
}

func chartsOfRepositories() *declaredKind {
	kind := fetchedKind("HelmChart", "chart",
		column{name: "Chart", when: wide, cell: func(_ *app, o *unstructured.Unstructured) string {
			return chartText(text(o, "spec", "chart"), text(o, "spec", "version"))
		}},
		sourceColumn(wide))
	kind.reads = true
	return kind
}

// chartText is a chart with the versions that are asked for.
func chartText(name, version string) string {
	if name == "" {
		return ""
	}
	return name + "@" + cmp.Or(version, "*")
}

// addressOf is where a source is fetched from.
func addressOf(o *unstructured.Unstructured) string {
	if o.GetKind() == bucketKind {
		return strings.TrimSuffix(text(o, "spec", "endpoint")+"/"+text(o, "spec", "bucketName"), "/")
	}
	return withoutCredentials(text(o, "spec", "url"))
}

// generatorIdiom is that of an ArtifactGenerator, which rests by an annotation
// (source-watcher api/v1beta1).
type generatorIdiom struct{ fluxIdiom }

// inventory is of the ExternalArtifacts that it makes.
func (generatorIdiom) inventory(o *unstructured.Unstructured) ([]object.ID, error) {
	list, _, err := unstructured.NestedSlice(o.Object, "status", "inventory")
	var ids []object.ID
	for _, item := range list {
		entry, _ := item.(map[string]any)
		name, _ := entry["name"].(string)
		namespace, _ := entry["namespace"].(string)
		ids = append(ids, object.ID{Group: sourceGroup, Kind: externalArtifactKind, Namespace: namespace, Name: name})
	}
	return ids, err
}

func (generatorIdiom) remote(*unstructured.Unstructured) bool { return false }

func (generatorIdiom) looked(*unstructured.Unstructured, string) bool { return true }
