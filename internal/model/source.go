package model

import (
	"time"

	"plumb.dev/plumb/internal/object"
)

// Source is a place that content is fetched from, as one declared object asks
// for it. Several sources that name one repository with one credential share
// one mirror.
type Source struct {
	ID         object.ID // the declaring object
	UID        string
	Generation int64
	Origin     Origin

	// Exactly one of the kinds is set.
	Git       *GitSource
	OCI       *OCISource
	Bucket    *BucketSource
	Index     *IndexSource     // of a Helm repository
	Chart     *ChartSource     // one Helm chart
	External  *ExternalSource  // an artifact that something else makes
	Generated *GeneratedSource // a tree made of others

	Ignore  *string   // gitignore patterns that replace the defaults; nil: upstream's defaults
	Include []Include // other sources copied into this tree
	// After are sources whose news make this one look again, though it is not
	// made of them: the Helm repository of a chart.
	After     []object.ID
	Interval  time.Duration
	Timeout   time.Duration
	Suspended bool
	Deleting  bool   // the declared object goes: nothing is looked at for it any more
	Wake      string // token of the last request to look again at once, or ""

	// Last is the artifact that the declared object's status tells of, nil when
	// there is none: what a suspended source goes on serving.
	Last *Artifact

	// Same is the implied source that reads the very same for the deliveries that
	// this one was made for: while it is there, its trees and faults are those of
	// this source too, and nothing is looked at twice. Zero: there is none.
	Same object.ID

	// Implied: no declared object stands for it; deliveries that read the same
	// place share it, and what went wrong is told on each of them. Nothing of
	// the repository is ignored, and an empty Git.Ref is the remote's HEAD.
	Implied bool
}

// Reads lists the sources that this one is made of, or that tell of news for
// it: when the tree of one of them moves, this one looks again.
func (s *Source) Reads() []object.ID {
	var ids []object.ID
	for i := range s.Include {
		ids = append(ids, s.Include[i].Source)
	}
	if s.Chart != nil && s.Chart.From != (object.ID{}) {
		ids = append(ids, s.Chart.From)
	}
	if s.Generated != nil {
		for i := range s.Generated.From {
			ids = append(ids, s.Generated.From[i].Source)
		}
	}
	return ids
}

// GitSource is a Git repository (source.toolkit.fluxcd.io GitRepository spec).
type GitSource struct {
	URL               string
	Ref               GitRef
	Auth              GitAuth
	Verify            *GitVerify
	RecurseSubmodules bool
	SparsePaths       []string // directories; empty: all
}

// GitRef picks a commit. The first that is set wins, in the order Name,
// Commit, SemVer, Tag, Branch; a Branch beside Commit narrows the fetch.
type GitRef struct {
	Branch string
	Tag    string
	SemVer string
	Name   string // such as refs/pull/420/head
	Commit string
	// Revision is a name whose kind is not known (Argo CD targetRevision): ""
	// or HEAD, a full reference, a branch, a tag, a commit (shortened or not),
	// or a semver range over tags. It is used alone.
	Revision string
	// TagPrefix narrows the tags that a Revision picks a version from to those
	// that start with it, and is put before a Revision that is a version
	// (Argo CD tagPrefix).
	TagPrefix string
}

// GitAuth is what the server and the way to it ask for. All fields are optional.
type GitAuth struct {
	Username    string
	Password    Secret
	BearerToken Secret

	SSHKey           Secret // PEM or OpenSSH private key
	SSHKeyPassphrase Secret
	KnownHosts       []byte // required with SSHKey

	ClientCert []byte // PEM
	ClientKey  Secret // PEM
	CA         []byte // PEM

	GitHubApp *GitHubApp
	Proxy     *Proxy

	Insecure       bool // the server's certificate or host key is not verified
	ForceBasicAuth bool // credentials are sent before they are asked for
}

// GitHubApp mints short-lived tokens (GitHub: "Authenticating as a GitHub App installation").
type GitHubApp struct {
	AppID             string
	InstallationID    string
	InstallationOwner string
	PrivateKey        Secret
	BaseURL           string // API address of GitHub Enterprise; empty: api.github.com
}

// Proxy is an HTTP(S) proxy.
type Proxy struct {
	Address  string
	Username string
	Password Secret
}

// VerifyMode says what must carry a good signature.
type VerifyMode string

// The modes of GitRepository spec.verify.mode.
const (
	VerifyHead       VerifyMode = "HEAD"
	VerifyTag        VerifyMode = "Tag"
	VerifyTagAndHead VerifyMode = "TagAndHEAD"
	// VerifyRevision checks the annotated tag where the revision names one, and
	// else the commit (Argo CD source integrity, mode "head").
	VerifyRevision VerifyMode = "Revision"
	// VerifyHistory checks the annotated tag, where the revision names one, and
	// every commit back to the first or to one that seals what lies before it
	// (Argo CD source integrity, mode "strict").
	VerifyHistory VerifyMode = "History"
)

// GitVerify asks for signatures by one of the trusted keys.
type GitVerify struct {
	Mode     VerifyMode
	Keys     []VerifyKey
	SecretID string // namespace/name of the Secret that holds them, for messages
}

// VerifyKey is one entry of the Secret of trusted keys.
type VerifyKey struct {
	Name string
	PEM  []byte // armored OpenPGP public key, or SSH public key / allowed_signers lines
}

// Include copies another source into a directory of this one
// (GitRepository spec.include).
type Include struct {
	Source object.ID
	From   string
	To     string
}

// Commit is what explains a revision to a person.
type Commit struct {
	Hash      string
	Author    string // name <email>
	Message   string // first line
	When      time.Time
	Signature string // "", or who signed, when verification was asked for and passed
}

// EntryKind is what a path of a tree is.
type EntryKind uint8

// The kinds of tree entries.
const (
	FileEntry EntryKind = iota + 1
	ExecutableEntry
	LinkEntry
	DirEntry
	SubmoduleEntry
)

// Entry is one path of an immutable tree.
type Entry struct {
	Name   string // last element of the path
	Kind   EntryKind
	Digest string // content digest; for a directory a digest of everything below it
	Size   int64  // bytes; files only, -1 when unknown
}
