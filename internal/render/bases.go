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

// Remote bases are directories of other repositories, and files at addresses,
// that a kustomization names among its resources and components. Where they are
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
	if slices.Equal(resources, l.k.Resources) && slices.Equal(components, l.k.Components) {
		return nil
	}
	return s.rewrite(l, func(k *types.Kustomization) { k.Resources, k.Components = resources, components })
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
		relative, err := filepath.Rel("/"+l.dir, "/"+at)
		if err != nil {
			return nil, s.remoteFault(l, p)
		}
		out = append(out, filepath.ToSlash(relative))
	}
	return out, nil
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

// leaves reports whether a path leads from a base out of its repository.
func (s *survey) leaves(l layer, at string) bool {
	root := mountRoot(l.dir)
	return root != "" && at != root && !strings.HasPrefix(at, root+"/")
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
