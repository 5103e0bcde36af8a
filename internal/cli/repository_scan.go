package cli

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
	"plumb.dev/plumb/internal/render"
	"plumb.dev/plumb/internal/secret/sops"
)

// looseNamespace is that of releases, and of their sources, that stand in files
// without one.
const looseNamespace = "default"

// scannedBytes is what a file with declarations has at most.
const scannedBytes = 4 << 20

// scan finds what is declared in files, as it stands there.
func (r *repository) scan() error {
	return filepath.WalkDir(r.dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		hidden := strings.HasPrefix(entry.Name(), ".") && name != r.dir
		switch extension := filepath.Ext(name); {
		case entry.IsDir() && (hidden || exists(filepath.Join(filepath.Dir(name), chartFile)) && entry.Name() == "templates"):
			return fs.SkipDir
		case !entry.Type().IsRegular(), hidden, extension != ".yaml" && extension != ".yml" && extension != ".json":
			return nil
		}
		info, err := entry.Info()
		if err != nil || info.Size() > scannedBytes {
			return err
		}
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		in, err := filepath.Rel(r.dir, name)
		if err != nil {
			return err
		}
		r.scanFile(filepath.ToSlash(in), content)
		return nil
	})
}

// scanFile takes up the objects of a file. What is none is no failure: it may be
// a template, or part of something.
func (r *repository) scanFile(file string, content []byte) {
	decoded, err := object.Decode(content, file, object.Limits{})
	if err != nil {
		if declares(content) {
			r.unread = append(r.unread, &item{id: object.ID{Kind: "File", Name: file}, file: file, status: rendersFailed, notes: []string{err.Error()}})
		}
		return
	}
	for _, d := range decoded {
		o := d.Object
		kind := deliveryKindOf(o.GroupVersionKind().GroupKind())
		if o.GetName() == "" {
			continue
		}
		if kind != nil {
			r.found = append(r.found, &item{object: o, file: file})
			continue
		}
		if render.Encrypted(o.Object) {
			r.skipped[object.Of(o)] = file
			r.world.placeholders[object.Of(o)] = r.world.ageKeys == nil
			if o = r.unsealed(o, file, content); o == nil {
				continue
			}
		}
		object.FoldStringData(o)
		if isDeclared(o.GroupVersionKind().GroupKind()) && o.GetNamespace() == "" {
			o.SetNamespace(looseNamespace)
		}
		r.world.inTree[object.Of(o)] = o
	}
}

// declares reports whether a file that cannot be read seems to declare a
// delivery. What holds actions of a template is none.
func declares(content []byte) bool {
	text := string(content)
	if strings.Contains(text, "{{") {
		return false
	}
	return slices.ContainsFunc(deliveryKinds(), func(kind *declaredKind) bool {
		return strings.Contains(text, "apiVersion: "+kind.group.Group+"/") && strings.Contains(text, "kind: "+kind.group.Kind)
	})
}

// unsealed is an encrypted object of a file, as far as it can be opened.
func (r *repository) unsealed(o *unstructured.Unstructured, file string, content []byte) *unstructured.Unstructured {
	if r.world.ageKeys == nil {
		unsealObject(o)
		return o
	}
	decrypter, err := sops.New(model.Decryption{Keys: r.world.ageKeys}, sops.Options{})
	if err != nil {
		return nil
	}
	defer decrypter.Close()
	text, err := o.MarshalJSON()
	if err == nil {
		text, err = decrypter.DecryptObject(context.Background(), file, content, strings.TrimPrefix(strings.Replace(filepath.Ext(file), ".yml", ".yaml", 1), "."), text)
	}
	plain := &unstructured.Unstructured{}
	if err != nil || plain.UnmarshalJSON(text) != nil {
		return nil
	}
	delete(r.skipped, object.Of(o))
	return plain
}

// recognise learns the repository's own address where nothing tells it and none
// is called like the directory: from Kustomizations whose path is there.
func (r *repository) recognise() {
	if r.world.self.name == "" {
		return
	}
	var learnt []string
	for _, one := range r.found {
		ref := sourceOf(one.object)
		dir := inTree(text(one.object, "spec", "path"))
		for id, o := range r.world.inTree {
			if id.Kind != ref.kind || id.Name != ref.name || id.Group != sourceGroup {
				continue
			}
			if r.world.self.own(text(o, "spec", "url")) {
				return
			}
			if dir != "" && exists(filepath.Join(r.dir, filepath.FromSlash(dir))) {
				learnt = append(learnt, plainAddress(text(o, "spec", "url")))
			}
		}
	}
	r.world.self.addresses = learnt
}
