package render

import (
	"math"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/types"

	"plumb.dev/plumb/internal/model"
)

// plain builds without kustomize what kustomize would hand through: a
// kustomization that only lists files, with at most a namespace, whose objects
// are of kinds that it treats alike and written in YAML that it reads and
// writes without loss. It reports false for everything else, errors included,
// which is left to kustomize.
//
// That is the shape of most deliveries, and it costs a tenth. It is safe
// because nothing is renamed, so that kustomize's name references have nothing
// to update, and because the kinds in which a namespace is set anywhere but in
// the metadata are left out. The fuzzer FuzzPlain compares the two.
func (b *build) plain(root *rootFile, s *survey) ([]model.Rendered, bool, error) {
	k := root.kustomization
	listing := types.Kustomization{TypeMeta: emptyKustomization().TypeMeta, MetaData: k.MetaData, Resources: k.Resources, Namespace: k.Namespace}
	if s.layers != 1 || s.unclean || len(k.Resources) == 0 || !reflect.DeepEqual(k, listing) {
		return nil, false, nil
	}
	c := s.collector(nil)
	spaces := map[[4]string]bool{}
	for i := range s.asked {
		one := &s.asked[i]
		if !handedThrough(one, k.Namespace) {
			return nil, false, nil
		}
		value, ok := plainValue(one.node)
		fields, isMap := value.(map[string]any)
		if !ok || !isMap || !plainMetadata(fields, k.Namespace) {
			return nil, false, nil
		}
		// Kustomize takes an absent namespace for "default".
		id, version := identify(fields)
		if id.Namespace == "" {
			id.Namespace = "default"
		}
		key := [4]string{one.group, one.kind, id.Namespace, one.bare}
		if spaces[key] || version == "" {
			return nil, false, nil
		}
		spaces[key] = true
		if err := c.add(fields, one); err != nil {
			return nil, true, err
		}
	}
	return c.objects, true, nil
}

// renamed are the kinds in which kustomize sets names or namespaces beyond the
// metadata although nothing is renamed (sigs.k8s.io/kustomize api,
// builtinpluginconsts: nameReference and namespace field specs that lead to a
// mapping), and those that are not objects of the result.
var renamed = map[string]bool{
	"RoleBinding": true, "ClusterRoleBinding": true, "APIService": true, "Namespace": true,
	"CustomResourceDefinition":     true,
	"MutatingWebhookConfiguration": true, "ValidatingWebhookConfiguration": true,
	"Kustomization": true, "Component": true,
}

// namespaced are the built-in kinds, with their groups, that are surely
// namespaced.
var namespaced = map[[2]string]bool{
	{"", "ConfigMap"}: true, {"", "Secret"}: true, {"", "Service"}: true, {"", "ServiceAccount"}: true,
	{"", "PersistentVolumeClaim"}: true, {"", "Pod"}: true, {"", "LimitRange"}: true, {"", "ResourceQuota"}: true,
	{"apps", "Deployment"}: true, {"apps", "StatefulSet"}: true, {"apps", "DaemonSet"}: true, {"apps", "ReplicaSet"}: true,
	{"batch", "Job"}: true, {"batch", "CronJob"}: true,
	{"networking.k8s.io", "Ingress"}: true, {"networking.k8s.io", "NetworkPolicy"}: true,
	{"autoscaling", "HorizontalPodAutoscaler"}: true, {"policy", "PodDisruptionBudget"}: true,
	{"rbac.authorization.k8s.io", "Role"}: true,
}

// handedThrough reports whether kustomize does no more to an object of this
// kind than to set the namespace of its metadata. Kinds that it does not know
// count as namespaced for it.
func handedThrough(one *asked, namespace string) bool {
	if one.bare == "" || one.kind == "" || strings.HasSuffix(one.kind, "List") || renamed[one.kind] {
		return false
	}
	if namespaced[[2]string{one.group, one.kind}] {
		return true
	}
	return strings.Contains(one.group, ".") && !strings.HasSuffix(one.group, ".k8s.io") || namespace == "" && one.group == ""
}

// plainMetadata checks the metadata and sets the namespace.
func plainMetadata(fields map[string]any, namespace string) bool {
	metadata, ok := fields["metadata"].(map[string]any)
	if !ok {
		return false
	}
	for _, name := range []string{"name", "namespace"} {
		if value, there := metadata[name]; there {
			if _, ok := value.(string); !ok {
				return false
			}
		}
	}
	for _, name := range []string{"labels", "annotations"} {
		value, there := metadata[name]
		if !there {
			continue
		}
		entries, ok := value.(map[string]any)
		if !ok || len(entries) == 0 {
			return false
		}
		for key, entry := range entries {
			if _, ok := entry.(string); !ok || steersKustomize(key) {
				return false
			}
		}
	}
	if namespace != "" {
		metadata["namespace"] = namespace
	}
	return true
}

// steersKustomize reports whether kustomize acts on a label or annotation.
func steersKustomize(key string) bool {
	return strings.Contains(key, "config.kubernetes.io") || strings.Contains(key, "kustomize.config.k8s.io") || strings.Contains(key, "config.k8s.io")
}

// plainValue decodes a node as kustomize does by writing it as YAML and
// reading that again. It reports false for whatever may not survive that as it
// is: aliases, tags, nulls, dates, folded text, text with blanks at the ends
// of lines.
func plainValue(n *yaml.Node) (any, bool) {
	if n == nil || n.Anchor != "" || n.Style&(yaml.TaggedStyle|yaml.FoldedStyle) != 0 {
		return nil, false
	}
	switch n.Kind {
	case yaml.MappingNode:
		return plainMapping(n)
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, item := range n.Content {
			value, ok := plainValue(item)
			if !ok {
				return nil, false
			}
			list[i] = value
		}
		return list, true
	case yaml.ScalarNode:
		return plainScalar(n)
	}
	return nil, false
}

func plainMapping(n *yaml.Node) (any, bool) {
	fields := make(map[string]any, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode || key.Tag != "!!str" || key.Anchor != "" || key.Style&^(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 || !plainText(key) {
			return nil, false
		}
		if _, twice := fields[key.Value]; twice || key.Value == "<<" { // kustomize merges even when it is in quotes
			return nil, false
		}
		decoded, ok := plainValue(value)
		if !ok {
			return nil, false
		}
		if value.Kind != yaml.ScalarNode && isReference(key.Value) {
			return nil, false // where kustomize looks for a name it wants one
		}
		fields[key.Value] = decoded
	}
	return fields, true
}

func isReference(key string) bool {
	return key == "name" || strings.HasSuffix(key, "Name") || key == "resourceNames"
}

func plainScalar(n *yaml.Node) (any, bool) {
	switch n.Tag {
	case "!!str":
		return n.Value, plainText(n)
	case "!!int", "!!bool", "!!float":
		var value any
		if n.Decode(&value) != nil {
			return nil, false
		}
		if f, ok := value.(float64); ok && (math.IsNaN(f) || math.IsInf(f, 0)) {
			return nil, false
		}
		return value, true
	}
	return nil, false
}

// plainText reports whether text is surely written and read back unchanged.
func plainText(n *yaml.Node) bool {
	for _, r := range n.Value {
		if r < ' ' && r != '\n' || r > '~' && (r < 0xA1 || r >= 0x2000) {
			return false
		}
	}
	if !strings.Contains(n.Value, "\n") {
		return true
	}
	if n.Style != yaml.LiteralStyle || strings.HasPrefix(n.Value, " ") || strings.HasPrefix(n.Value, "\n") {
		return false
	}
	return !strings.Contains(n.Value, " \n") && !strings.HasSuffix(n.Value, "\n\n") && !strings.HasSuffix(n.Value, " ")
}
