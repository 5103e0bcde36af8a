package render

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// corpusEnv names a directory with checkouts of repositories that are compared
// too.
const corpusEnv = "PLUMB_KUSTOMIZE_CORPUS"

// Every kustomization of the stories, and of the corpus where there is one,
// builds to what kustomize itself builds from disk, or fails where it fails.
func TestEqualsKustomize(t *testing.T) {
	stories, err := filepath.Glob("testdata/kustomize/*.txtar")
	if err != nil || len(stories) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, file := range stories {
		t.Run(filepath.Base(file), func(t *testing.T) {
			_, tree := readStory(t, file)
			compareRepository(t, lay(t, tree))
		})
	}
	corpus := os.Getenv(corpusEnv)
	if corpus == "" {
		return
	}
	repositories, err := os.ReadDir(corpus)
	if err != nil {
		t.Fatal(err)
	}
	for _, repository := range repositories {
		t.Run(repository.Name(), func(t *testing.T) {
			compareRepository(t, filepath.Join(corpus, repository.Name()))
		})
	}
}

func compareRepository(t *testing.T, root string) {
	tree, err := Directory(root)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tree.Close() }()
	var same, objects, placed, refused, failed int
	reasons := map[string]int{}
	for _, dir := range kustomizations(t, root) {
		m, err := Kustomize(context.Background(), tree, dir, model.KustomizeOptions{}, model.Origin{}, Limits{})
		if err != nil && isRefusal(err) {
			refused++
			continue
		}
		want, wantErr := fromDisk(filepath.Join(root, dir))
		switch {
		case err != nil && wantErr != nil:
			failed++
			reasons[err.Error()]++
		case (err == nil) != (wantErr == nil):
			t.Errorf("%s: got error %v, kustomize has %v", dir, err, wantErr)
		default:
			same++
			objects += len(m.Objects)
			for _, rendered := range m.Objects {
				if rendered.Origin.Line > 0 {
					placed++
				}
			}
			compare(t, dir, m, want)
		}
	}
	t.Logf("%d kustomizations equal with %d objects, %d of them traced to a line; %d refused, %d fail in both", same, objects, placed, refused, failed)
	for reason, n := range reasons {
		t.Logf("%d × %s", n, reason)
	}
}

func compare(t *testing.T, dir string, m *model.Manifest, want [][]byte) {
	t.Helper()
	got := make([][]byte, len(m.Objects))
	for i, rendered := range m.Objects {
		got[i] = rendered.JSON
	}
	if !slices.EqualFunc(got, want, bytes.Equal) {
		t.Errorf("%s: differs from kustomize\ngot  %s\nwant %s", dir, bytes.Join(got, []byte("\n")), bytes.Join(want, []byte("\n")))
	}
}

// isRefusal is about what Plumb does not build on purpose, or upstream refuses
// after the build.
func isRefusal(err error) bool {
	for _, what := range []string{"builds do not fetch", "not supported", "SOPS", "leads out of the source", "has no apiVersion"} {
		if strings.Contains(err.Error(), what) {
			return true
		}
	}
	return false
}

func kustomizations(t *testing.T, root string) []string {
	t.Helper()
	found := map[string]bool{}
	err := filepath.WalkDir(root, func(p string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && slices.Contains(konfig.RecognizedKustomizationFileNames(), entry.Name()) {
			dir, err := filepath.Rel(root, filepath.Dir(p))
			found[dir] = err == nil
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var dirs []string
	for dir := range found {
		dirs = append(dirs, dir)
	}
	slices.Sort(dirs)
	return dirs
}

// fromDisk is what kustomize builds, with the root kustomization read and
// written once as upstream does.
func fromDisk(dir string) (objects [][]byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errors.New("panic")
		}
	}()
	sharedSchema.Lock()
	defer sharedSchema.Unlock()
	resetSchema()
	defer resetSchema()
	return kustomized(filesys.MakeFsOnDisk(), dir)
}

func kustomized(on filesys.FileSystem, dir string) ([][]byte, error) {
	on, err := rewritten(on, dir)
	if err != nil {
		return nil, err
	}
	kustomizer := krusty.MakeKustomizer(&krusty.Options{LoadRestrictions: types.LoadRestrictionsNone, PluginConfig: types.DisabledPluginConfig()})
	resources, err := kustomizer.Run(on, dir)
	if err != nil {
		return nil, err
	}
	var objects [][]byte
	for _, resource := range resources.Resources() {
		text, err := resource.MarshalJSON()
		if err != nil {
			return nil, err
		}
		flat, err := canonicals(text)
		if err != nil {
			return nil, err
		}
		objects = append(objects, flat...)
	}
	return objects, nil
}

// canonicals is the canonical form of an object, or of the items of a list.
func canonicals(text []byte) ([][]byte, error) {
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil, err
	}
	if items, ok := fields["items"].([]any); ok && strings.HasSuffix(fields["kind"].(string), "List") {
		var all [][]byte
		for _, item := range items {
			text, err := json.Marshal(item)
			if err != nil {
				return nil, err
			}
			flat, err := canonicals(text)
			if err != nil {
				return nil, err
			}
			all = append(all, flat...)
		}
		return all, nil
	}
	canonical, err := object.Canonical(fields)
	return [][]byte{canonical}, err
}

// rewritten is on with the kustomization of dir as fluxcd/pkg/kustomize
// rewrites it before a build.
func rewritten(on filesys.FileSystem, dir string) (filesys.FileSystem, error) {
	for _, name := range konfig.RecognizedKustomizationFileNames() {
		at := filepath.Join(dir, name)
		text, err := on.ReadFile(at)
		if err != nil {
			continue
		}
		k := types.Kustomization{TypeMeta: types.TypeMeta{APIVersion: types.KustomizationVersion, Kind: types.KustomizationKind}}
		if err := yaml.Unmarshal(text, &k); err != nil {
			return nil, err
		}
		if len(k.Resources) == 0 {
			k.BuildMetadata = []string{types.OriginAnnotations}
		}
		text, err = yaml.Marshal(k)
		return overlaid{FileSystem: on, at: at, text: text}, err
	}
	return on, nil
}

type overlaid struct {
	filesys.FileSystem
	at   string
	text []byte
}

func (o overlaid) ReadFile(p string) ([]byte, error) {
	if target, err := filepath.EvalSymlinks(p); p == o.at || err == nil && target == o.at {
		return o.text, nil
	}
	return o.FileSystem.ReadFile(p)
}
