package cli

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/source"
)

// redirectFlags say from where sources are had instead of from where they say.
type redirectFlags struct {
	mirrors []string
	logins  string
}

func (f *redirectFlags) bind(set *pflag.FlagSet) {
	set.StringArrayVar(&f.mirrors, "source-mirror", nil, "`FROM=TO`: fetch what sources name at or below the address FROM from TO, such as oci://ghcr.io=oci://registry.example.com/ghcr.io; a source's credentials are not sent there; repeatable")
	set.StringVar(&f.logins, "source-mirror-auth", "", "docker config `FILE` with the credentials of the hosts that --source-mirror names")
}

// arguments are the flags as they are given to a program in the same directory.
func (f *redirectFlags) arguments(a *app) []string {
	var args []string
	for _, text := range f.mirrors {
		args = append(args, "--source-mirror", text)
	}
	if f.logins != "" {
		args = append(args, "--source-mirror-auth", a.path(f.logins))
	}
	return args
}

// read makes sense of the flags.
func (f *redirectFlags) read(a *app) (source.Redirects, error) {
	var all source.Redirects
	for _, text := range f.mirrors {
		one, err := source.ParseRedirect(text)
		if err != nil {
			return all, advise(fmt.Errorf("--source-mirror: %w", err), "as in: --source-mirror https://charts.example.com=https://mirror.example.com/charts")
		}
		all.All = append(all.All, one)
	}
	if f.logins != "" {
		content, err := os.ReadFile(a.path(f.logins))
		if err != nil {
			return all, err
		}
		all.Logins = model.NewSecret(content)
	}
	return all, nil
}

// ownRedirects lead from the addresses of a checkout's remotes to where the
// checkout is served, so that a repository that names itself is delivered as it
// is on disk.
func ownRedirects(dir, served string) []source.Redirect {
	config, err := os.ReadFile(filepath.Join(dir, ".git", "config"))
	if err != nil {
		return nil // no checkout, or one of another kind
	}
	var all []source.Redirect
	for _, remote := range checkoutRemote.FindAllStringSubmatch(string(config), -1) {
		at, err := source.RepositoryURL(remote[1])
		if err != nil || at.Host == "" {
			continue
		}
		for _, scheme := range []string{"https", "http", "ssh"} {
			from := url.URL{Scheme: scheme, Host: at.Host, Path: at.Path}
			if scheme != at.Scheme {
				from.Host = at.Hostname() // the port is of the one protocol
			}
			all = append(all, source.Redirect{From: from.String(), To: served})
		}
	}
	return all
}
