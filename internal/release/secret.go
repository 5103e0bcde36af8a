package release

import (
	"encoding/base64"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/helm"
	"plumb.dev/plumb/internal/object"
)

// What the Secrets of Helm's storage are known by.
const (
	SecretType = "helm.sh/release.v1"
	secretName = "sh.helm.release.v1."

	// ActionAnnotation names the action that a record was made by, and
	// OwnerAnnotation the declared object that asked for it. Helm drops them when it
	// writes a record, so that what has them was written by Plumb last.
	ActionAnnotation = "plumb.dev/release-action"
	OwnerAnnotation  = "plumb.dev/released-by"
	// GenerationAnnotation is the generation of that object.
	GenerationAnnotation = "plumb.dev/released-generation"
)

// labels that are the storage's own; people cannot give them.
var systemLabels = map[string]bool{"name": true, "owner": true, "status": true, "version": true, "createdAt": true, "modifiedAt": true}

// SecretID is the Secret of one revision of a release.
func SecretID(storage, name string, version int) object.ID {
	return object.ID{Kind: "Secret", Namespace: storage, Name: fmt.Sprintf("%s%s.v%d", secretName, name, version)}
}

// Selector is the label selector of all records of a release; "" stands for any.
func Selector(name string) string {
	if name == "" {
		return "owner=helm"
	}
	return "name=" + name + ",owner=helm"
}

// Secret is the record as an object in the storage namespace. It goes to the API
// server and nowhere else.
func (c *Codec) Secret(r *Record, storage string, now time.Time) (*unstructured.Unstructured, error) {
	payload, err := c.Encode(r)
	if err != nil {
		return nil, err
	}
	labels := map[string]any{}
	for key, value := range r.Labels {
		if !systemLabels[key] {
			labels[key] = value
		}
	}
	created := r.Created
	if created.IsZero() {
		created = now
	} else {
		labels["modifiedAt"] = strconv.FormatInt(now.Unix(), 10)
	}
	maps.Copy(labels, map[string]any{
		"name": r.Name, "owner": "helm", "status": string(r.Info.Status), "version": strconv.Itoa(r.Version),
		"createdAt": strconv.FormatInt(created.Unix(), 10),
	})
	metadata := map[string]any{"name": SecretID(storage, r.Name, r.Version).Name, "namespace": storage, "labels": labels}
	if r.Action != "" {
		notes := map[string]any{ActionAnnotation: string(r.Action), OwnerAnnotation: r.By}
		if r.Generation != 0 {
			notes[GenerationAnnotation] = strconv.FormatInt(r.Generation, 10)
		}
		metadata["annotations"] = notes
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": SecretType, "metadata": metadata,
		"data": map[string]any{"release": base64.StdEncoding.EncodeToString(payload)},
	}}, nil
}

// Read reads a Secret of Helm's storage. The error names the Secret, and nothing
// of what is in it.
func (c *Codec) Read(secret *unstructured.Unstructured) (*Record, error) {
	refuse := func(why string) (*Record, error) {
		return nil, fmt.Errorf("Secret %s/%s cannot be read as a record of a release: %s", secret.GetNamespace(), secret.GetName(), why)
	}
	if kind, _, _ := unstructured.NestedString(secret.Object, "type"); kind != SecretType || !strings.HasPrefix(secret.GetName(), secretName) {
		return refuse("it is not of type " + SecretType)
	}
	text, _, err := unstructured.NestedString(secret.Object, "data", "release")
	if err != nil || len(text) > 4*MaxPayload {
		return refuse(errRecord.Error())
	}
	payload, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return refuse(errRecord.Error())
	}
	r, err := c.Decode(payload)
	if err != nil {
		return refuse(err.Error())
	}
	if SecretID("", r.Name, r.Version).Name != secret.GetName() {
		return refuse("it holds " + r.String())
	}
	for key, value := range secret.GetLabels() {
		switch {
		case key == "createdAt":
			if seconds, err := strconv.ParseInt(value, 10, 64); err == nil {
				r.Created = time.Unix(seconds, 0)
			}
		case !systemLabels[key]:
			if r.Labels == nil {
				r.Labels = map[string]string{}
			}
			r.Labels[key] = value
		}
	}
	if r.Created.IsZero() {
		r.Created = secret.GetCreationTimestamp().Time
	}
	annotations := secret.GetAnnotations()
	r.Action, r.By = helm.Action(annotations[ActionAnnotation]), annotations[OwnerAnnotation]
	if generation, err := strconv.ParseInt(annotations[GenerationAnnotation], 10, 64); err == nil && r.Action != "" {
		r.Generation = generation
	}
	return r, nil
}
