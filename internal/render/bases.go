package render

import (
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/kustomize/api/types"
)

// Remote bases are directories of other repositories that a kustomization names
// among its resources and components, and files at addresses that it names
// anywhere. Where they are
// allowed they are wanted, mounted, and named by their place in front of
// kustomize, which never fetches anything.

// remotes turns the remote resources and components of a kustomization into
// paths of mounts. What is not mounted is wanted.
func (s *survey) remotes(l layer) error {
	if !s.opts.RemoteBases {
		return nil
	}
	resources, err := s.mountedAll(l, l.k.Resources)
	if err != nil {
		return err
	}
	components, err := s.mountedAll(l, l.k.Components)
	if err != nil {
		return err
	}
	files, err := s.mountedFiles(l)
	if err != nil {
		return err
	}
	if len(files) == 0 && slices.Equal(resources, l.k.Resources) && slices.Equal(components, l.k.Components) {
		return nil
	}
	return s.rewrite(l, func(k *types.Kustomization) {
		k.Resources, k.Components = resources, components
		relocate(k, files)
	})
}

func (s *survey) mountedAll(l layer, paths []string) ([]string, error) {
	var out []string
	for _, p := range paths {
		if !remoteDir(p) || s.isFile(l, p) {
			out = append(out, p)
			continue
		}
		at, err := s.mountedBase(l, p)
		if err != nil {
			return nil, err
		}
		if at == "" {
			continue // wanted
		}
		if at, err = s.from(l, at, p); err != nil {
			return nil, err
		}
		out = append(out, at)
	}
	return out, nil
}

// from is the path of something that is mounted, as the kustomization names it,
// which may lead out of its own repository there.
func (s *survey) from(l layer, at, p string) (string, error) {
	relative, err := filepath.Rel("/"+l.dir, "/"+at)
	if err != nil {
		return "", s.remoteFault(l, p)
	}
	s.granted[[2]string{mountRoot(l.dir), mountRoot(at)}] = true
	return filepath.ToSlash(relative), nil
}

// mountedFiles are the paths of the files at addresses that the fields of a
// kustomization name; "" for one that is wanted.
func (s *survey) mountedFiles(l layer) (map[string]string, error) {
	files := map[string]string{}
	for _, p := range loads(l.k) {
		if _, known := files[p]; known || !remoteFile(p) {
			continue
		}
		at, err := s.mountedFile(l, p)
		if err != nil {
			return nil, err
		}
		if at != "" {
			if at, err = s.from(l, at, p); err != nil {
				return nil, err
			}
		}
		files[p] = at
	}
	return files, nil
}

// relocate puts paths in place of the addresses of files. What has none is left
// out: nothing is built before it is there.
func relocate(k *types.Kustomization, files map[string]string) {
	placed := func(p string) string {
		if at, known := files[p]; known {
			return at
		}
		return p
	}
	all := func(paths []string) []string {
		out := make([]string, 0, len(paths))
		for _, p := range paths {
			if p = placed(p); p != "" {
				out = append(out, p)
			}
		}
		return out
	}
	k.Crds, k.Configurations = all(k.Crds), all(k.Configurations)
	k.Patches, k.PatchesJson6902 = slices.Clone(k.Patches), slices.Clone(k.PatchesJson6902) //nolint:staticcheck // retired by kustomize, which still builds it
	for _, list := range [][]types.Patch{k.Patches, k.PatchesJson6902} {                    //nolint:staticcheck // as above
		for i := range list {
			list[i].Path = placed(list[i].Path)
		}
	}
	k.PatchesStrategicMerge = slices.Clone(k.PatchesStrategicMerge) //nolint:staticcheck // as above
	for i, patch := range k.PatchesStrategicMerge {                 //nolint:staticcheck // as above
		k.PatchesStrategicMerge[i] = types.PatchStrategicMerge(placed(string(patch))) //nolint:staticcheck // as above
	}
	k.Replacements = slices.Clone(k.Replacements)
	for i := range k.Replacements {
		k.Replacements[i].Path = placed(k.Replacements[i].Path)
	}
	k.ConfigMapGenerator, k.SecretGenerator = slices.Clone(k.ConfigMapGenerator), slices.Clone(k.SecretGenerator)
	for i := range k.ConfigMapGenerator {
		relocateSources(&k.ConfigMapGenerator[i].KvPairSources, files, all)
	}
	for i := range k.SecretGenerator {
		relocateSources(&k.SecretGenerator[i].KvPairSources, files, all)
	}
	if p := placed(k.OpenAPI["path"]); p != k.OpenAPI["path"] {
		k.OpenAPI = map[string]string{"path": p}
	}
}

// relocateSources does the same for a generator. The key of a file without one is
// the last element of its address.
func relocateSources(from *types.KvPairSources, files map[string]string, all func([]string) []string) {
	from.EnvSources = all(from.EnvSources)
	if at, known := files[from.EnvSource]; known {
		from.EnvSource = at
	}
	var out []string
	for _, source := range from.FileSources {
		key, p, named := strings.Cut(source, "=")
		if !named {
			key, p = path.Base(source), source
		}
		at, known := files[p]
		switch {
		case !known:
			out = append(out, source)
		case at != "":
			out = append(out, key+"="+at)
		}
	}
	from.FileSources = out
}

// isFile reports whether a name that looks like an address is that of something in the tree.
func (s *survey) isFile(l layer, p string) bool {
	if remoteFile(p) {
		return false
	}
	_, _, err := s.fs.resolve(path.Join(l.dir, p))
	return err == nil
}

// mountedBase is where a base is; "" when it is wanted.
func (s *survey) mountedBase(l layer, p string) (string, error) {
	if remoteManifest(p) {
		return s.mountedFile(l, p)
	}
	base, ok := parseBase(p)
	if !ok {
		return "", s.remoteFault(l, p)
	}
	at, _, err := s.mountOf(wantBase(base, l.file))
	if err != nil || at == "" {
		return "", err
	}
	return path.Join(at, base.Path), nil
}

// mountedFile is where a file at an address is; "" when it is wanted.
func (s *survey) mountedFile(l layer, p string) (string, error) {
	at, _, err := s.mountOf(wantURL(p, l.file))
	if err != nil || at == "" {
		return "", err
	}
	entries, err := s.recorder.List(at)
	if err != nil {
		return "", s.readFault(at, err)
	}
	if len(entries) != 1 || isDir(entries[0]) {
		return "", s.remoteFault(l, p)
	}
	return path.Join(at, entries[0].Name), nil
}

// remoteManifest reports whether an address is that of one file, not of a
// repository. Kustomize finds out by asking.
func remoteManifest(p string) bool {
	u, err := url.Parse(p)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || strings.Contains(u.Path, "//") {
		return false
	}
	switch path.Ext(u.Path) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}

// parseBase reads the address of a base as kustomize does
// (sigs.k8s.io/kustomize api, git.NewRepoSpecFromURL): the repository ends at
// "_git/name", at "//", at ".git", or after its second element. Local
// repositories (file://) are none.
func parseBase(p string) (WantedBase, bool) {
	address, query, _ := strings.Cut(p, "?")
	base := WantedBase{Submodules: true}
	if values, err := url.ParseQuery(query); err == nil {
		base.Ref = values.Get("version")
		if ref := values.Get("ref"); ref != "" {
			base.Ref = ref
		}
		if on, err := strconv.ParseBool(values.Get("submodules")); err == nil {
			base.Submodules = on
		}
	}
	if len(address) > len("git::") && strings.EqualFold(address[:len("git::")], "git::") {
		address = address[len("git::"):]
	}
	host, rest, ok := repositoryHost(address)
	if !ok {
		return base, false
	}
	repository, below, ok := repositoryPath(rest)
	below = cleaned(below)
	if !ok || repository == "" || climbs(below) {
		return base, false
	}
	base.URL, base.Path = host+repository, below
	return base, true
}

// repositoryHost cuts the host, with the delimiter behind it, off an address.
// Those of GitHub are brought into one form.
func repositoryHost(address string) (host, rest string, ok bool) {
	scheme := ""
	for _, known := range []string{"ssh://", "https://", "http://"} {
		if len(address) > len(known) && strings.EqualFold(address[:len(known)], known) {
			scheme, address = known, address[len(known):]
			break
		}
	}
	user := scpUser.FindString(address)
	address = address[len(user):]
	lower := strings.ToLower(address)
	github := strings.HasPrefix(lower, "github.com/") || strings.HasPrefix(lower, "github.com:")
	scp := scheme == "" && (user != "" || github)
	if scheme == "" && !scp {
		return "", "", false
	}
	end := strings.IndexByte(address, '/')
	if colon := strings.IndexByte(address, ':'); scp && colon > 0 && (end < 0 || colon < end) {
		end = colon
	}
	if end < 0 {
		return "", "", false
	}
	host, rest = address[:end+1], address[end+1:]
	switch {
	case github && (scheme == "ssh://" || user != ""):
		if user == "" {
			user = "git@"
		}
		return user + "github.com:", rest, true
	case github:
		return "https://github.com/", rest, true
	}
	return scheme + user + host, rest, true
}

// repositoryPath divides a path where the repository ends.
func repositoryPath(p string) (repository, below string, ok bool) {
	const azure, suffix, segments = "_git/", ".git", 2
	if at := strings.Index(p, azure); at >= 0 {
		name, rest, _ := strings.Cut(p[at+len(azure):], "/")
		return p[:at+len(azure)] + name, rest, true
	}
	if before, after, found := strings.Cut(p, "//"); found {
		return before, after, true
	}
	if at := strings.Index(p, suffix); at >= 0 {
		return p[:at+len(suffix)], strings.TrimPrefix(p[at+len(suffix):], "/"), true
	}
	parts := strings.Split(p, "/")
	if len(parts) < segments {
		return "", "", false
	}
	return strings.Join(parts[:segments], "/"), strings.Join(parts[segments:], "/"), true
}

// leaves reports whether a path leads from a base out of its repository, and not
// to what the base names by its address.
func (s *survey) leaves(l layer, at string) bool {
	root := mountRoot(l.dir)
	return root != "" && at != root && !strings.HasPrefix(at, root+"/") && !s.granted[[2]string{root, mountRoot(at)}]
}

// mountRoot is the place of the mount that a path is in, "" when it is in none.
func mountRoot(p string) string {
	if !isReserved(p) {
		return ""
	}
	const elements = 3 // .plumb/base/key
	parts := strings.SplitN(p, "/", elements+1)
	return strings.Join(parts[:min(len(parts), elements)], "/")
}
