package house

import (
	"slices"
	"strings"
	"testing"
)

// A library that has one home: the room that hides it behind an interface of
// its own. Rooms listed later only put the parts together, or are its users'
// tests. One without a home is refused everywhere.
type library struct {
	path  string // import path, or a prefix ending in "/"
	homes []string
	why   string
}

var libraries = []library{
	{"k8s.io/client-go/", []string{"internal/cluster", "internal/control", "internal/cli", "internal/api", "scenario", "bench"}, "the cluster writer is the only one that changes managed objects, and the loop the only one that watches declared ones"},
	{"github.com/go-git/", []string{"internal/source", "internal/cli"}, "content comes as a Tree; how it was fetched stays in source"},
	{"github.com/google/go-jsonnet", []string{"internal/render"}, "objects come out of render; which renderer made them stays there"},
	{"github.com/yuin/gopher-lua", []string{"internal/health"}, "scripts judge health and nothing else; their bounds are kept in one place"},
	{"helm.sh/helm/", []string{"internal/render", "internal/release", "internal/source", "internal/dialect/flux", "internal/cli"}, "Helm gives the shape of charts and records, and the syntax of values; who renders, decides and writes is ours"},
	{"helm.sh/helm/v4/pkg/action", nil, "it writes to clusters by itself, one action at a time; internal/release decides and the engine writes"},
	{"helm.sh/helm/v4/pkg/action/", nil, "see helm.sh/helm/v4/pkg/action"},
	{"helm.sh/helm/v4/pkg/cli", nil, "it reads the environment and home directories"},
	{"helm.sh/helm/v4/pkg/cli/", nil, "it reads the environment and home directories"},
	{"helm.sh/helm/v4/pkg/downloader", nil, "charts come as trees; it caches them on disk"},
	{"helm.sh/helm/v4/pkg/engine", nil, "it cannot be bounded; the render room has an engine that is held against it"},
	{"helm.sh/helm/v4/pkg/getter", nil, "it knows no bounds and starts plugins"},
	{"helm.sh/helm/v4/pkg/kube", nil, "the cluster room is the only writer of managed objects"},
	{"helm.sh/helm/v4/pkg/postrenderer", nil, "it starts programs"},
	{"helm.sh/helm/v4/pkg/registry", nil, "registries are asked in one place, within bounds"},
	{"helm.sh/helm/v4/pkg/storage", nil, "records are read and written by the engine, as the delivery's identity"},
	{"helm.sh/helm/v4/pkg/storage/", nil, "see helm.sh/helm/v4/pkg/storage"},
	{"github.com/klauspost/compress/", []string{"internal/release"}, "only records share compressed beginnings; everything else is packed by the standard library"},
	{"github.com/BurntSushi/toml", []string{"internal/render"}, "the functions fromToml and toToml of charts"},
	{"github.com/santhosh-tekuri/jsonschema/", []string{"internal/render"}, "values of charts are checked where they are rendered"},
	{"github.com/google/go-containerregistry/", []string{"internal/source", "scenario"}, "content comes as a Tree; how it was fetched stays in source"},
	{"oras.land/", nil, "registries are asked in one way; notation brings this one along"},
	{"github.com/sigstore/", []string{"internal/source"}, "what is not verified never leaves source"},
	{"github.com/notaryproject/", []string{"internal/source", "scenario"}, "what is not verified never leaves source; stories sign what it verifies"},
	{"github.com/opencontainers/", []string{"internal/source", "scenario"}, "content comes as a Tree; how it was fetched stays in source"},
	{"github.com/minio/", []string{"internal/source"}, "content comes as a Tree; how it was fetched stays in source"},
	{"github.com/getsops/", []string{"internal/secret", "scenario"}, "its key sources read the environment and start programs; one room sees to it that they are never asked"},
	{"filippo.io/age", []string{"internal/secret", "scenario"}, "keys are held by the room that decrypts"},
	{"filippo.io/age/", []string{"internal/secret", "scenario"}, "keys are held by the room that decrypts; plugins are programs"},
	{"github.com/sirupsen/logrus", []string{"internal/secret"}, "there it is only silenced: nothing is logged but by the top"},
	{"github.com/aws/", []string{"internal/source", "internal/secret"}, "a cloud is asked for credentials in source/cloud, and for keys in secret/sops"},
	{"github.com/Azure/", []string{"internal/source", "internal/secret"}, "a cloud is asked for credentials in source/cloud, and for keys in secret/sops"},
	{"cloud.google.com/", []string{"internal/source"}, "a cloud is asked for credentials in source/cloud"},
	{"golang.org/x/oauth2", []string{"internal/source", "internal/secret", "internal/signin"}, "a cloud is asked for credentials in source/cloud, and for keys in secret/sops; people sign in through signin"},
	{"golang.org/x/oauth2/", []string{"internal/source", "internal/secret", "internal/signin"}, "a cloud is asked for credentials in source/cloud, and for keys in secret/sops; people sign in through signin"},
	{"github.com/coreos/go-oidc/", []string{"internal/signin"}, "tokens are checked in one place"},
	{"github.com/go-jose/", []string{"internal/signin"}, "tokens are checked in one place"},
	{"github.com/golang-jwt/", nil, "go-jose makes its callers name the algorithms; two libraries for tokens are one too many"},
	{"github.com/ProtonMail/", []string{"internal/source", "internal/secret", "internal/api"}, "signatures are checked in source, data keys opened in secret; the API tells which public keys it was given"},
	{"connectrpc.com/", []string{"internal/api", "bench"}, "the API's protocol is spoken by one room; the benchmark asks as a browser does"},
	{"google.golang.org/grpc", []string{"internal/api"}, "gRPC is spoken by the server only"},
	{"google.golang.org/grpc/", []string{"internal/api"}, "gRPC is spoken by the server only"},
	{"golang.org/x/crypto/bcrypt", []string{"internal/signin", "scenario"}, "passwords are checked in one place; stories give a Dex its people"},
	{"github.com/bufbuild/", []string{"internal/api"}, "the API's messages are compiled by its own generator"},
	{"sigs.k8s.io/kustomize/", []string{"internal/render"}, "objects come out of render; which renderer made them stays there"},
	{"modernc.org/sqlite", []string{"internal/journal"}, "the journal's store is the journal's business"},
	{"database/sql", []string{"internal/journal"}, "the journal's store is the journal's business"},
	{"github.com/spf13/", []string{"internal/cli"}, "flags and commands belong to the command line"},
	{"github.com/rogpeppe/go-internal/", []string{"scenario"}, "the language of the stories"},
}

func TestLibrariesStayAtHome(t *testing.T) {
	for _, pkg := range repository(t) {
		home, ok := roomOf(pkg.dir)
		if !ok || !pkg.inMainModule() {
			continue
		}
		for _, file := range pkg.files {
			if file.test {
				continue
			}
			for i, imported := range file.imports() {
				if refusal := astray(home, imported); refusal != "" {
					t.Errorf("%s: %s", place(file, file.syntax.Imports[i]), refusal)
				}
			}
		}
	}
}

func astray(home room, imported string) string {
	for _, lib := range libraries {
		if imported != lib.path && (!strings.HasSuffix(lib.path, "/") || !strings.HasPrefix(imported, lib.path)) {
			continue
		}
		switch {
		case lib.homes == nil:
			return home.path + " imports " + imported + ", which has no home here: " + lib.why
		case !slices.Contains(lib.homes, home.path):
			return home.path + " imports " + imported + ", whose home is " + strings.Join(lib.homes, ", ") + ": " + lib.why
		}
	}
	return ""
}

func TestAstrayIsSeen(t *testing.T) {
	render, _ := roomOf("internal/render")
	if got := astray(render, "sigs.k8s.io/kustomize/api/krusty"); got != "" {
		t.Errorf("render is refused its own library: %s", got)
	}
	if got := astray(render, "helm.sh/helm/v4/pkg/chart/v2/loader"); got != "" {
		t.Errorf("render is refused its own library: %s", got)
	}
	for _, imported := range []string{
		"k8s.io/client-go/dynamic", "github.com/go-git/go-git/v5", "modernc.org/sqlite", "github.com/getsops/sops/v3/age",
		"helm.sh/helm/v4/pkg/action", "helm.sh/helm/v4/pkg/kube", "helm.sh/helm/v4/pkg/storage/driver",
	} {
		if astray(render, imported) == "" {
			t.Errorf("render may import %s", imported)
		}
	}
}
