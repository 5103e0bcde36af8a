package repository

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"plumb.dev/plumb/internal/dialect/argo/config"
	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// LabelSecretType marks the Secrets of an installation.
const LabelSecretType = "argocd.argoproj.io/secret-type"

// The ConfigMaps with what servers prove themselves by.
const (
	KnownHosts      = "argocd-ssh-known-hosts-cm"
	TLSCertificates = "argocd-tls-certs-cm"
	GPGKeys         = "argocd-gpg-keys-cm"
)

// Reasons of faults, which are the condition types of an Application.
const (
	ReasonComparison  = "ComparisonError"
	ReasonInvalidSpec = "InvalidSpecError"
)

// GroupKinds of implied sources: no such object exists.
const (
	Group     = "plumb.dev"
	Kind      = "Repository"
	KindChart = "Chart"
)

// Needs are what Source wants to see.
func Needs(namespace string) []model.Need {
	return append([]model.Need{
		repositories(namespace),
		templates(namespace),
		configMap(namespace, KnownHosts),
		configMap(namespace, TLSCertificates),
		configMap(namespace, GPGKeys),
	}, config.Needs(namespace)...)
}

func repositories(namespace string) model.Need { return Secrets(namespace, "repository") }
func templates(namespace string) model.Need    { return Secrets(namespace, "repo-creds") }

// Secrets needs every Secret of one type, such as "repository" or "cluster".
func Secrets(namespace, kind string) model.Need {
	return model.Need{Version: "v1", Kind: "Secret", Namespace: namespace, Selector: LabelSecretType + "=" + kind}
}

func configMap(namespace, name string) model.Need {
	return model.Need{Version: "v1", Kind: "ConfigMap", Namespace: namespace, Name: name}
}

// Source is the implied source of a repository at a revision: "", HEAD, a
// branch, a tag, a commit, a reference or a semver range. What it asks to see
// first is returned as needs. project picks the credentials that are kept for
// one project; "" is the default project. Errors are faults.
//
// Credentials are those of the Secret of type repository that names the URL,
// in the project or in none; where it holds none they are those of the
// repo-creds Secret with the longest URL that the repository's begins with
// (util/db, GetRepository).
func Source(facts model.Facts, namespace, repoURL, revision, project string) (model.Source, []model.Need, error) {
	ask := asking{facts: facts, namespace: namespace, url: strings.TrimSpace(repoURL), project: project}
	if open := open(facts, namespace); len(open) > 0 {
		return model.Source{}, open, nil
	}
	if fault := ask.known(); fault != nil {
		return model.Source{}, nil, fault
	}
	address, fault := ask.address()
	if fault != nil {
		return model.Source{}, nil, fault
	}
	found, fault := ask.find()
	if fault != nil {
		return model.Source{}, nil, fault
	}
	auth, fault := found.auth(ask, address)
	if fault != nil {
		return model.Source{}, nil, fault
	}
	settings, _ := config.Read(facts, namespace)
	source := ask.implied(settings)
	source.Git = &model.GitSource{
		URL:               bare(address),
		Ref:               model.GitRef{Revision: revision},
		Auth:              auth,
		RecurseSubmodules: settings.Submodules,
	}
	source.ID = ask.identify(Kind, found, source.Git.URL, revision,
		string(auth.KnownHosts), string(auth.CA), strconv.FormatBool(settings.Submodules))
	return source, nil, nil
}

// implied is what all sources of an installation have in common.
func (a asking) implied(settings config.Settings) model.Source {
	return model.Source{
		Implied:  true,
		Origin:   model.Origin{Dialect: config.DialectName, Repository: Printable(a.url)},
		Interval: Interval(settings),
		Timeout:  max(settings.GitTimeout, fetchTimeout),
	}
}

// Verified is the source with signatures asked for. It is another source: who
// may read it unverified reads another object.
func Verified(source model.Source, verify *model.GitVerify) model.Source {
	if verify == nil || source.Git == nil {
		return source
	}
	git := *source.Git
	git.Verify = verify
	source.Git = &git
	parts := []string{source.ID.Name, string(verify.Mode)}
	for _, key := range verify.Keys {
		parts = append(parts, key.Name, string(key.PEM))
	}
	source.ID.Name = digest(parts...)
	return source
}

// Prefixed is the source with the tags narrowed to those that begin so. It is
// another source.
func Prefixed(source model.Source, tagPrefix string) model.Source {
	if tagPrefix == "" || source.Git == nil {
		return source
	}
	git := *source.Git
	git.Ref.TagPrefix = tagPrefix
	source.Git = &git
	source.ID.Name = digest(source.ID.Name, "tagPrefix", tagPrefix)
	return source
}

// Remarks are what the Secret of a repository asks for and Plumb does in
// another way. Their origin has a field only, which names Secret and key: the
// caller says whose remarks they are.
func Remarks(facts model.Facts, namespace, repoURL, project string) []model.Finding {
	found, fault := (asking{facts: facts, namespace: namespace, url: strings.TrimSpace(repoURL), project: project}).find()
	if fault != nil || found.repository.data == nil {
		return nil
	}
	var out []model.Finding
	remark := func(severity model.Severity, reason, key, message string) {
		field := fmt.Sprintf("Secret %s/%s data.%s", found.repository.id.Namespace, found.repository.id.Name, key)
		out = append(out, model.Finding{Severity: severity, Reason: reason, Message: message, Origin: model.Origin{Dialect: config.DialectName, Field: field}})
	}
	if depth := found.repository.text("depth"); depth != "" && depth != "0" {
		remark(model.Info, config.ReasonDiffers, "depth", "mirrors are whole and fetched once, however many read them: the depth is not used")
	}
	if found.repository.text("enableLfs") == "true" {
		remark(model.Warning, config.ReasonNotActedOn, "enableLfs", "not yet handled by Plumb: files in Git LFS are read as the pointers that stand for them")
	}
	if kind := found.repository.text("type"); kind != "" && kind != "git" {
		remark(model.Info, config.ReasonDiffers, "type", "the source names a path and no chart, and is not oci://: it is read from Git whatever type is written here")
	}
	return out
}

// fetchTimeout is what upstream gives a fetch (ARGOCD_EXEC_TIMEOUT); the
// request timeout bounds the listing of references only.
const fetchTimeout = 90 * time.Second

// never is longer than anything stays as it is.
const never = 365 * 24 * time.Hour

// Interval is how often sources are looked at; where the settings say never, a
// year.
func Interval(settings config.Settings) time.Duration {
	if settings.Reconciliation <= 0 {
		return never
	}
	return settings.Reconciliation
}

func open(facts model.Facts, namespace string) []model.Need {
	var out []model.Need
	for _, need := range Needs(namespace) {
		if _, asked := facts[need]; !asked {
			out = append(out, need)
		}
	}
	return out
}

// asking is one repository of which somebody wants to know how to reach it.
type asking struct {
	facts     model.Facts
	namespace string
	url       string
	project   string
}

// known refuses when something that matters cannot be seen: a credential that
// is unknown is not a credential that is absent.
func (a asking) known() *model.Fault {
	for _, need := range Needs(a.namespace) {
		switch fact := a.facts[need]; fact.State {
		case model.Present, model.Absent:
		default:
			return &model.Fault{
				Reason:  ReasonComparison,
				Message: fmt.Sprintf("%s cannot be read: %s", need, reader.Clip(fact.Message, 300)),
				Advice:  "allow Plumb to read it",
				Retry:   true,
			}
		}
	}
	return nil
}

func (a asking) address() (*url.URL, *model.Fault) {
	refuse := func(message, advice string) (*url.URL, *model.Fault) {
		return nil, &model.Fault{Reason: ReasonInvalidSpec, Message: message, Advice: advice}
	}
	switch {
	case a.url == "":
		return refuse("spec.source.repoURL is required", "name the repository")
	case strings.HasPrefix(a.url, ociScheme):
		return refuse("an artifact of a registry is no Git repository", "name a Git repository")
	case strings.HasPrefix(a.url, "file://"), strings.HasPrefix(a.url, "/"):
		return refuse("repositories on a disk are not read", "serve the repository by http, https or ssh")
	}
	address, ok := parse(a.url)
	if !ok {
		return refuse("spec.source.repoURL is not the address of a repository", "write it as https://host/path, ssh://user@host/path or user@host:path")
	}
	return address, nil
}

// bare is the address without credentials; ssh keeps the user, without whom
// the address is another one.
func bare(address *url.URL) string {
	out := *address
	out.User = nil
	if address.Scheme == "ssh" && address.User != nil {
		out.User = url.User(address.User.Username())
	}
	return out.String()
}

// found are the Secrets that speak of a repository.
type found struct {
	repository entry
	template   entry
}

// find picks them. A Secret that cannot be decoded may be the one: which
// credential fits is unknown then.
func (a asking) find() (found, *model.Fault) {
	var out found
	shared := entry{}
	for _, e := range entries(a.facts[repositories(a.namespace)]) {
		if e.bad != nil {
			return found{}, e.fault("correct the Secret", "%s", e.bad)
		}
		if !Same(e.text("url"), a.url) {
			continue
		}
		switch e.text("project") {
		case a.project:
			if out.repository.data == nil {
				out.repository = e
			}
		case "":
			if shared.data == nil {
				shared = e
			}
		}
	}
	if out.repository.data == nil {
		out.repository = shared
	}
	if credentialed(out.repository) {
		return out, nil
	}
	template, fault := a.template(a.url)
	out.template = template
	return out, fault
}

// template is the repo-creds Secret whose address the repository's begins with,
// the longest of them.
func (a asking) template(repoURL string) (entry, *model.Fault) {
	var out entry
	address, longest := schemeless(repoURL), 0
	for _, e := range entries(a.facts[templates(a.namespace)]) {
		if e.bad != nil {
			return entry{}, e.fault("correct the Secret", "%s", e.bad)
		}
		prefix := schemeless(e.text("url"))
		if prefix != "" && strings.HasPrefix(address, prefix) && wholeHost(prefix, address[len(prefix):]) && len(prefix) > longest {
			out, longest = e, len(prefix)
		}
	}
	return out, nil
}

// wholeHost reports whether a beginning of an address names its host in full.
// Upstream does not ask: credentials of example.com would go to
// example.com.elsewhere.
func wholeHost(prefix, rest string) bool {
	_, place, named := strings.Cut(prefix, "://")
	if !named {
		place = prefix
	}
	port, _, _ := strings.Cut(rest, "/")
	return strings.Contains(place, "/") || port == "" || portForm.MatchString(port)
}

// portForm is a port behind a host.
var portForm = regexp.MustCompile(`^:[0-9]+$`)

// credentialed reports whether a repository brings its own (Repository
// HasCredentials).
func credentialed(e entry) bool {
	return slices.ContainsFunc([]string{
		"username", "password", "bearerToken", "sshPrivateKey", "tlsClientCertData",
		"githubAppPrivateKey", "azureServicePrincipalClientSecret",
	}, e.has) || e.text("useAzureWorkloadIdentity") == "true"
}

// identify names the source by what it reads and by which Secrets, in which
// version, it reads with. Nothing of a Secret's content goes in.
//
// A URL that brings credentials of its own is shared within a project only:
// another one that names the same place without them must not read with them.
func (a asking) identify(kind string, f found, parts ...string) object.ID {
	project := a.project
	if !strings.Contains(a.url, "@") {
		project = ""
	}
	return object.ID{Group: Group, Kind: kind, Namespace: a.namespace, Name: digest(append(parts, project, f.repository.version, f.template.version)...)}
}

func digest(parts ...string) string {
	sum := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(sum, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(sum.Sum(nil)[:16])
}
