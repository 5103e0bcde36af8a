package appset

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"

	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
)

// git: a set for each directory, or for each map in each file
// (generators/git.go).
func (e *expansion) git(at string, body any) ([]params, error) {
	var g gitGenerator
	if err := decode(body, &g); err != nil {
		return nil, &placed{at, err}
	}
	source, needs, err := e.room.Source(e.facts, e.namespace, g.RepoURL, g.Revision, e.set.projectForSources())
	if err != nil {
		return nil, &placed{at + ".repoURL", err}
	}
	if len(needs) > 0 {
		return nil, &placed{at + ".repoURL", fmt.Errorf("%s has not been read yet", needs[0])}
	}
	q := &model.GitQuestion{Input: inputOf(source, g.RepoURL), Source: source, Greedy: !e.options.NewGitGlobbing}
	// Directories go before files, as upstream.
	if len(g.Directories) > 0 {
		for i, item := range g.Directories {
			if _, err := path.Match(item.Path, ""); err != nil {
				return nil, &placed{fmt.Sprintf("%s.directories[%d].path", at, i), errors.New("is no pattern of paths")}
			}
			q.Directories = append(q.Directories, model.GitPath{Path: item.Path, Exclude: item.Exclude})
		}
	} else {
		for _, item := range g.Files {
			q.Files = append(q.Files, model.GitPath{Path: item.Path, Exclude: item.Exclude})
		}
	}
	if len(q.Directories)+len(q.Files) == 0 {
		return nil, &placed{at, errors.New("names neither directories nor files")}
	}
	answer, err := e.answer(model.Question{Key: keyOf("git", source.ID, q.Directories, q.Files, q.Greedy), Git: q}, at)
	if err != nil {
		return nil, err
	}
	if len(q.Directories) > 0 {
		return e.directories(at, g, answer.Directories)
	}
	return e.files(at, g, answer.Files)
}

func (e *expansion) directories(at string, g gitGenerator, found []string) ([]params, error) {
	var out []params
	for _, dir := range slices.Sorted(slices.Values(found)) {
		if !wanted(g.Directories, dir) {
			continue
		}
		set := params{}
		e.setPath(set, g.PathParamPrefix, dir, "")
		if err := e.render.addValues(at, g.Values, set); err != nil {
			return nil, err
		}
		out = append(out, set)
	}
	return out, nil
}

// wanted reports whether a directory matches a pattern and none that excludes;
// hidden ones never do.
func wanted(items []gitItem, dir string) bool {
	if slices.ContainsFunc(strings.Split(dir, "/"), func(part string) bool { return strings.HasPrefix(part, ".") }) {
		return false
	}
	include := false
	for _, item := range items {
		if match, err := path.Match(item.Path, dir); err != nil || !match {
			continue
		}
		if item.Exclude {
			return false
		}
		include = true
	}
	return include
}

// setPath adds the parameters of a directory, and of the file in it that the
// others come from.
func (e *expansion) setPath(set params, prefix, dir, file string) {
	base := path.Base(dir)
	if e.set.spec.GoTemplate {
		fields := map[string]any{"path": dir, "basename": base, "basenameNormalized": normalize(base), "segments": strings.Split(dir, "/")}
		if file != "" {
			fields["filename"] = file
			fields["filenameNormalized"] = normalize(file)
		}
		if prefix != "" {
			set[prefix] = map[string]any{"path": fields}
		} else {
			set["path"] = fields
		}
		return
	}
	name := join(prefix, "path")
	set[name] = dir
	set[name+".basename"] = base
	set[name+".basenameNormalized"] = normalize(base)
	if file != "" {
		set[name+".filename"] = file
		set[name+".filenameNormalized"] = normalize(file)
	}
	for i, segment := range strings.Split(dir, "/") {
		if segment != "" {
			set[name+"["+strconv.Itoa(i)+"]"] = segment
		}
	}
}

func (e *expansion) files(at string, g gitGenerator, found []model.TreeFile) ([]params, error) {
	found = slices.Clone(found)
	slices.SortFunc(found, func(a, b model.TreeFile) int { return cmp.Compare(a.Path, b.Path) })
	var out []params
	for _, file := range found {
		objects, err := objectsOf(file.Content)
		if err != nil {
			return nil, &placed{at + ".files", fmt.Errorf("%s cannot be read: %s", reader.Clip(file.Path, 300), reader.Clip(err.Error(), 200))}
		}
		for _, fields := range objects {
			set := e.fromTree(fields)
			e.setPath(set, g.PathParamPrefix, path.Dir(file.Path), path.Base(file.Path))
			if err := e.render.addValues(at, g.Values, set); err != nil {
				return nil, err
			}
			out = append(out, set)
		}
	}
	return out, nil
}

// objectsOf reads a file that is a map, or a list of maps, in JSON or YAML; an
// empty one is an empty map.
func objectsOf(content []byte) ([]map[string]any, error) {
	one := map[string]any{}
	err := yaml.Unmarshal(content, &one)
	if err == nil {
		return []map[string]any{one}, nil
	}
	var several []map[string]any
	if yaml.Unmarshal(content, &several) == nil {
		return several, nil
	}
	return nil, err
}

// fromTree makes parameters of a tree that was found somewhere.
func (e *expansion) fromTree(fields map[string]any) params {
	set := make(params, len(fields))
	if !e.set.spec.GoTemplate {
		for key, text := range flatStrings(fields) {
			set[key] = text
		}
		return set
	}
	for key, value := range fields {
		set[key] = asDecoded(value)
	}
	return set
}
