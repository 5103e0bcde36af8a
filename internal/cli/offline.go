package cli

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"plumb.dev/plumb/internal/dialect/argo"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/render"
	"plumb.dev/plumb/internal/secret/sops"
)

// patience says with what a derivation may be worked out: as long as others may
// still bring what is missing, it waits for them.
type patience int

const (
	delivered      patience = iota // only what deliveries of the repository have brought
	declaredInTree                 // what merely stands in the tree counts too
	absentForGood                  // what is missing stays missing
	assumedEmpty                   // ConfigMaps and Secrets that are missing count as empty
)

// offline is the world of a repository without a cluster: what is declared is
// what its own deliveries bring, and what stands in its files.
type offline struct {
	brought map[object.ID]*unstructured.Unstructured // by deliveries
	inTree  map[object.ID]*unstructured.Unstructured // as it stands in files
	scopes  map[schema.GroupKind]bool                // of definitions that deliveries brought: namespaced
	self    origins
	ageKeys []model.DecryptionKey // nil: what is encrypted stays so

	// The derivation that is being worked out.
	patience   patience
	absent     []model.Need
	sealed     *sealed
	usedSealed []object.ID // encrypted objects whose values it was given placeholders for

	placeholders map[object.ID]bool // objects that hold placeholders
}

func newOffline() *offline {
	return &offline{
		brought: map[object.ID]*unstructured.Unstructured{}, inTree: map[object.ID]*unstructured.Unstructured{},
		scopes: map[schema.GroupKind]bool{}, sealed: &sealed{}, placeholders: map[object.ID]bool{},
	}
}

// begin forgets what the last derivation missed.
func (o *offline) begin(p patience) {
	o.patience, o.absent, o.usedSealed, o.sealed = p, nil, nil, &sealed{}
}

// missed notes that something is not there.
func (o *offline) missed(need model.Need) {
	if !slices.Contains(o.absent, need) {
		o.absent = append(o.absent, need)
	}
}

// bring adds an object that a delivery wants.
func (o *offline) bring(u *unstructured.Unstructured) {
	u = u.DeepCopy()
	object.FoldStringData(u)
	o.brought[object.Of(u)] = u
	if u.GetKind() != "CustomResourceDefinition" {
		return
	}
	kind := schema.GroupKind{Group: text(u, "spec", "group"), Kind: text(u, "spec", "names", "kind")}
	o.scopes[kind] = text(u, "spec", "scope") != "Cluster"
}

// bringSealed adds an object that holds placeholders.
func (o *offline) bringSealed(u *unstructured.Unstructured) {
	o.bring(u)
	o.placeholders[object.Of(u)] = true
}

// find is the object of an identity, as far as patience goes.
func (o *offline) find(id object.ID) *unstructured.Unstructured {
	if found := o.brought[id]; found != nil {
		return found
	}
	if found := o.inTree[id]; found != nil && o.patience >= declaredInTree {
		return found
	}
	return built[id]
}

// built is what upstream makes by itself.
var built = map[object.ID]*unstructured.Unstructured{
	{Group: argo.Group, Kind: "AppProject", Namespace: defaultArgoNamespace, Name: "default"}: {Object: map[string]any{
		"apiVersion": argo.Group + "/" + argo.Version, "kind": "AppProject",
		"metadata": map[string]any{"name": "default", "namespace": defaultArgoNamespace},
		"spec": map[string]any{
			"sourceRepos":              []any{"*"},
			"destinations":             []any{map[string]any{"namespace": "*", "server": "*"}},
			"clusterResourceWhitelist": []any{map[string]any{"group": "*", "kind": "*"}},
		},
	}},
}

// fact implements world.
func (o *offline) fact(_ context.Context, need model.Need) model.Fact {
	if need.Kind == "" {
		need.Kind = kindOfPlural(need.Group, need.Resource)
	}
	if need.Selector != "" {
		return model.Fact{State: model.Present, Objects: o.selected(need)}
	}
	id := object.ID{Group: need.Group, Kind: need.Kind, Namespace: need.Namespace, Name: need.Name}
	if found := o.find(id); found != nil {
		if o.placeholders[id] {
			o.usedSealed = append(o.usedSealed, id)
		}
		return model.Fact{State: model.Present, Object: asRendered(found)}
	}
	o.missed(need)
	if o.patience < absentForGood {
		return model.Fact{State: model.Failed, Message: "not delivered yet"}
	}
	if o.patience >= assumedEmpty && need.Group == "" && (need.Kind == "Secret" || need.Kind == "ConfigMap") {
		return model.Fact{State: model.Present, Object: &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": need.Kind, "metadata": map[string]any{"name": need.Name, "namespace": need.Namespace}, "data": map[string]any{},
		}}}
	}
	return model.Fact{State: model.Absent}
}

// selected are the objects that a need selects, by namespace and name.
func (o *offline) selected(need model.Need) []*unstructured.Unstructured {
	chosen := labels.Everything()
	if need.Selector != "*" {
		var err error
		if chosen, err = labels.Parse(need.Selector); err != nil {
			return nil
		}
	}
	var found []*unstructured.Unstructured
	take := func(u *unstructured.Unstructured) {
		id := object.Of(u)
		if id.Group == need.Group && id.Kind == need.Kind && (need.Namespace == "" || id.Namespace == need.Namespace) && chosen.Matches(labels.Set(u.GetLabels())) {
			found = append(found, asRendered(u))
		}
	}
	for _, u := range o.brought {
		take(u)
	}
	for id, u := range o.inTree {
		if o.patience >= declaredInTree && o.brought[id] == nil {
			take(u)
		}
	}
	slices.SortFunc(found, func(x, y *unstructured.Unstructured) int {
		return strings.Compare(x.GetNamespace()+"/"+x.GetName(), y.GetNamespace()+"/"+y.GetName())
	})
	return found
}

// kindOfPlural is the kind that a plural name stands for.
func kindOfPlural(group, plural string) string {
	for _, kind := range dialectKinds() {
		if kind.GroupKind.Group == group && kind.Plural == plural {
			return kind.GroupKind.Kind
		}
	}
	for _, kind := range []string{"Secret", "ConfigMap"} {
		if guess, _ := meta.UnsafeGuessKindToResource(schema.GroupVersionKind{Group: group, Version: "v1", Kind: kind}); guess.Resource == plural {
			return kind
		}
	}
	return plural
}

// withheldFields say how something is fetched, opened or reached, which has no
// part in what it renders to here.
var withheldFields = map[string][][]string{
	"Kustomization": {{"spec", "decryption"}, {"spec", "kubeConfig"}, {"spec", "suspend"}},
	helmReleaseKind: {{"spec", "kubeConfig"}, {"spec", "suspend"}, {"spec", "chart", "spec", "verify"}},
	"HelmChart":     {{"spec", "verify"}, {"spec", "suspend"}},
}

var credentialFields = [][]string{
	{"spec", "secretRef"}, {"spec", "certSecretRef"}, {"spec", "proxySecretRef"}, {"spec", "verify"}, {"spec", "serviceAccountName"}, {"spec", "suspend"},
}

// asRendered copies a declared object without what says how it is reached.
func asRendered(u *unstructured.Unstructured) *unstructured.Unstructured {
	u = u.DeepCopy()
	group := u.GroupVersionKind().Group
	if !strings.HasSuffix(group, fluxGroups) {
		return u
	}
	fields := withheldFields[u.GetKind()]
	if group == sourceGroup {
		fields = append(slices.Clone(fields), credentialFields...)
		if u.GetKind() != bucketKind {
			fields = append(fields, []string{"spec", "provider"})
		}
	}
	for _, field := range fields {
		unstructured.RemoveNestedField(u.Object, field...)
	}
	unstructured.RemoveNestedField(u.Object, "status")
	return u
}

// declaration implements world. The source that flux bootstrap makes is the
// repository, whether it is declared or not.
func (o *offline) declaration(_ context.Context, id object.ID) (*unstructured.Unstructured, error) {
	if found := o.find(id); found != nil {
		return asRendered(found), nil
	}
	if id.Name == defaultNamespace && (id.Kind == gitRepositoryKind || id.Kind == ociRepositoryKind) && o.patience >= declaredInTree {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": sourceGroup + "/v1", "kind": id.Kind,
			"metadata": map[string]any{"name": id.Name, "namespace": id.Namespace},
			"spec":     map[string]any{"url": map[string]string{gitRepositoryKind: "https://" + ownAddress, ociRepositoryKind: "oci://" + ownAddress}[id.Kind], "interval": "1h"},
		}}, nil
	}
	o.missed(model.Need{Group: id.Group, Kind: id.Kind, Namespace: id.Namespace, Name: id.Name})
	return nil, outsideOf("%s, which the repository does not declare", id)
}

// destination implements world.
func (o *offline) destination(context.Context, model.Target, model.Facts) (destination, error) {
	return o, nil
}

func (o *offline) cluster() *cluster { return nil }

// capabilities implements destination: charts are told what helm template tells
// them.
func (o *offline) capabilities(context.Context) (render.Tree, error) { return nil, nil }

// lookup implements destination.
func (o *offline) lookup(context.Context) render.Tree { return nil }

// scope implements destination.
func (o *offline) scope(kind schema.GroupKind, version string) (namespaced, known bool, err error) {
	if namespaced, known = o.scopes[kind]; known {
		return namespaced, true, nil
	}
	if declaredKindOf(kind) != nil {
		return true, true, nil
	}
	namespaced, known = render.Namespaced(kind.WithVersion(version))
	return namespaced, known, nil
}

// outside implements world.
func (o *offline) outside(*model.Input) (render.Outside, func(), error) {
	if o.ageKeys == nil {
		return render.Outside{Decrypter: o.sealed}, func() {}, nil
	}
	decrypter, err := sops.New(model.Decryption{Keys: o.ageKeys}, sops.Options{})
	if err != nil {
		return render.Outside{}, nil, err
	}
	return render.Outside{Decrypter: decrypter}, decrypter.Close, nil
}

// ownAddress stands for the address of a repository whose own is not known.
const ownAddress = "repository.invalid/self"

// origins are the addresses by which a repository names itself, without scheme,
// user and ".git".
type origins struct {
	addresses []string
	name      string // last element that an address has, where none is known; "": there is none
}

var checkoutRemote = regexp.MustCompile(`(?m)^\s*url\s*=\s*(\S+)`)

// originsOf finds the addresses of a repository: those that are given, else
// those of the remotes of the checkout, else whatever is called like the
// directory.
func originsOf(dir string, given []string) origins {
	var found origins
	addresses := given
	if len(addresses) == 0 {
		if config, err := os.ReadFile(filepath.Join(dir, ".git", "config")); err == nil {
			for _, remote := range checkoutRemote.FindAllStringSubmatch(string(config), -1) {
				addresses = append(addresses, remote[1])
			}
		}
	}
	for _, address := range addresses {
		found.addresses = append(found.addresses, plainAddress(address))
	}
	if len(found.addresses) == 0 {
		found.name = strings.ToLower(filepath.Base(dir))
	}
	return found
}

// plainAddress is an address as it is compared: host and path, in lower case.
func plainAddress(address string) string {
	address = strings.TrimSuffix(strings.TrimRight(strings.ToLower(address), "/"), ".git")
	scheme, rest, hasScheme := strings.Cut(address, "://")
	if !hasScheme {
		rest = scheme
	}
	if at := strings.LastIndex(strings.SplitN(rest, "/", 2)[0], "@"); at >= 0 {
		rest = rest[at+1:]
	}
	if host, p, scp := strings.Cut(rest, ":"); scp && !hasScheme {
		rest = host + "/" + p
	} else if scp {
		port, p, _ := strings.Cut(p, "/")
		if strings.Trim(port, "0123456789") == "" {
			rest = host + "/" + p
		}
	}
	return rest
}

// own reports whether an address is one of the repository.
func (s origins) own(address string) bool {
	plain := plainAddress(address)
	return plain == ownAddress || slices.Contains(s.addresses, plain) || s.name != "" && path.Base(plain) == s.name
}

// needText is a need in words.
func needText(need model.Need) string {
	kind := need.Kind
	if kind == "" {
		kind = need.Resource
	}
	return fmt.Sprintf("%s %s", kind, strings.TrimPrefix(need.Namespace+"/"+need.Name, "/"))
}
