package appset

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/dialect"
	"plumb.dev/plumb/internal/dialect/argo/config"
	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// SourceFunc makes the source that stands for a repository at a revision, with
// the credential that the Secrets of the Argo CD namespace hold for it in the
// project or in none (repository.Source). While needs are returned the source
// is not known yet.
type SourceFunc func(facts model.Facts, namespace, repoURL, revision, project string) (model.Source, []model.Need, error)

// Room understands ApplicationSets. Source is required.
type Room struct {
	Source SourceFunc
}

// argoNamespace is where Argo CD's own objects live.
func argoNamespace(settings dialect.Settings) string {
	if settings.ArgoNamespace != "" {
		return settings.ArgoNamespace
	}
	return "argocd"
}

func clustersNeed(namespace string) model.Need {
	return model.Need{Version: "v1", Kind: "Secret", Namespace: namespace, Selector: labelSecretType + "=" + typeCluster}
}

func projectsNeed(namespace string) model.Need {
	return model.Need{Group: group, Version: version, Kind: kindProject, Namespace: namespace, Selector: "*"}
}

func applicationsNeed(namespace string) model.Need {
	return model.Need{Group: group, Version: version, Kind: kindApp, Namespace: namespace, Selector: "*"}
}

// namedNeed asks for one object. A name that is only known once a template has
// been filled is looked up among all objects of the kind.
func namedNeed(kind, namespace, name string) model.Need {
	need := model.Need{Version: "v1", Kind: kind, Namespace: namespace, Name: name}
	if strings.Contains(name, "{{") {
		need.Name, need.Selector = "", "*"
	}
	return need
}

// lookup finds an object that a generator names. Only Present is an answer.
func lookup(facts model.Facts, kind, namespace, name string) (*unstructured.Unstructured, error) {
	need := namedNeed(kind, namespace, name)
	if fact, asked := facts[need]; asked && need.Selector == "" {
		if err := known(need, fact); err != nil {
			return nil, err
		}
		return fact.Object, nil
	}
	all := need
	all.Name, all.Selector = "", "*"
	fact, asked := facts[all]
	if !asked {
		return nil, fmt.Errorf("%s has not been read yet", need)
	}
	if err := known(all, fact); err != nil {
		return nil, err
	}
	for _, o := range fact.Objects {
		if o.GetName() == name {
			return o, nil
		}
	}
	return nil, fmt.Errorf("%s %s/%s does not exist", kind, namespace, reader.Clip(name, maxName))
}

// list is the answer to a need for several objects.
func list(facts model.Facts, need model.Need) ([]*unstructured.Unstructured, error) {
	fact, asked := facts[need]
	if !asked {
		return nil, fmt.Errorf("%s has not been read yet", need)
	}
	if err := known(need, fact); err != nil {
		return nil, err
	}
	return fact.Objects, nil
}

func known(need model.Need, fact model.Fact) error {
	switch fact.State {
	case model.Present:
		if need.Selector == "" && fact.Object == nil {
			return fmt.Errorf("%s has not been read yet", need)
		}
		return nil
	case model.Absent:
		if need.Selector != "" {
			return nil
		}
		return fmt.Errorf("%s does not exist", need)
	case model.Forbidden:
		return fmt.Errorf("%s may not be read: %s", need, reader.Clip(fact.Message, 200))
	}
	return fmt.Errorf("%s could not be read: %s", need, reader.Clip(fact.Message, 200))
}

// secretData is the data of a Secret, decoded.
func secretData(o *unstructured.Unstructured) map[string]string {
	out := map[string]string{}
	fields, _ := o.Object["data"].(map[string]any)
	for key, value := range fields {
		text, _ := value.(string)
		if decoded, err := base64.StdEncoding.DecodeString(text); err == nil {
			out[key] = string(decoded)
		}
	}
	plain, _ := o.Object["stringData"].(map[string]any)
	for key, value := range plain {
		if text, ok := value.(string); ok {
			out[key] = text
		}
	}
	return out
}

func configMapData(o *unstructured.Unstructured) map[string]string {
	out := map[string]string{}
	fields, _ := o.Object["data"].(map[string]any)
	for key, value := range fields {
		if text, ok := value.(string); ok {
			out[key] = text
		}
	}
	return out
}

// secretKey reads one key of a Secret that a generator names; a nil reference
// is no credential. The name that comes with the value changes with the Secret
// and does not tell the value.
func (e *expansion) secretKey(path string, ref *secretRef) (model.Secret, string, error) {
	if ref == nil {
		return model.Secret{}, "", nil
	}
	namespace := e.set.id.Namespace
	o, err := lookup(e.facts, "Secret", namespace, ref.SecretName)
	if err != nil {
		return model.Secret{}, "", &placed{path, err}
	}
	if e.options.TokenRefStrict && o.GetLabels()[labelSecretType] != typeSCMCreds {
		return model.Secret{}, "", &placed{path, fmt.Errorf("the Secret %s/%s does not carry the label %s=%s, which argocd-cmd-params-cm asks for", namespace, reader.Clip(ref.SecretName, maxName), labelSecretType, typeSCMCreds)}
	}
	value, ok := secretData(o)[ref.Key]
	if !ok {
		return model.Secret{}, "", &placed{path, fmt.Errorf("the Secret %s/%s has no key %q", namespace, reader.Clip(ref.SecretName, maxName), reader.Clip(ref.Key, 100))}
	}
	return model.NewSecret([]byte(value)), identity(o) + "/" + ref.Key, nil
}

func (e *expansion) configMapKey(path string, ref *configMapRef) ([]byte, error) {
	if ref == nil {
		return nil, nil
	}
	o, err := lookup(e.facts, "ConfigMap", e.set.id.Namespace, ref.ConfigMapName)
	if err != nil {
		return nil, &placed{path, err}
	}
	value, ok := configMapData(o)[ref.Key]
	if !ok {
		return nil, &placed{path, fmt.Errorf("ConfigMap %s/%s has no key %q", e.set.id.Namespace, reader.Clip(ref.ConfigMapName, maxName), reader.Clip(ref.Key, 100))}
	}
	return []byte(value), nil
}

// identity names an object in the state it is in.
func identity(o *unstructured.Unstructured) string {
	return object.Of(o).String() + "@" + string(o.GetUID()) + "@" + o.GetResourceVersion()
}

// cluster is a registered cluster as its Secret tells.
type cluster struct {
	name, server, project string
	labels, annotations   map[string]string
}

// clusters are the registered clusters, by the name of their Secrets.
func clusters(facts model.Facts, namespace string) ([]cluster, error) {
	secrets, err := list(facts, clustersNeed(namespace))
	if err != nil {
		return nil, err
	}
	out := make([]cluster, 0, len(secrets))
	for _, o := range secrets {
		data := secretData(o)
		out = append(out, cluster{
			name: data["name"], server: data["server"], project: data["project"],
			labels: o.GetLabels(), annotations: o.GetAnnotations(),
		})
	}
	return out, nil
}

// settled reads the settings of the installation, once they are known.
func settled(facts model.Facts, namespace string) (config.ApplicationSets, error) {
	if fault := config.Unavailable(facts, namespace); fault != nil {
		return config.ApplicationSets{}, fault
	}
	for _, need := range config.Needs(namespace) {
		if _, asked := facts[need]; !asked {
			return config.ApplicationSets{}, errors.New(need.String() + " has not been read yet")
		}
	}
	settings, _ := config.Read(facts, namespace)
	return settings.ApplicationSets, nil
}

// OwnerNeed asks for the set that controls an Application, so that its
// compilation can ask for its Turn; false: no set controls it.
func OwnerNeed(app *unstructured.Unstructured) (model.Need, bool) {
	for _, owner := range app.GetOwnerReferences() {
		if owner.Controller != nil && *owner.Controller && owner.APIVersion == apiVersion && owner.Kind == kindSet {
			return model.Need{Group: group, Version: version, Kind: kindSet, Namespace: app.GetNamespace(), Name: owner.Name}, true
		}
	}
	return model.Need{}, false
}
