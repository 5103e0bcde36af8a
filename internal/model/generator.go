package model

import "time"

// Question is something that a generator has to know before it can say what to
// generate (Argo CD ApplicationSet spec.generators). Exactly one of the kinds
// is set. Two questions with the same Key have the same answer.
type Question struct {
	Key string // digest of everything below; names the answer

	Git          *GitQuestion
	Repositories *RepositoriesQuestion
	PullRequests *PullRequestsQuestion
	Plugin       *PluginQuestion
	Decision     *DecisionQuestion
	Clusters     bool // registered clusters: their Secrets are among the facts

	// Requeue is how often to ask again; 0: never, the answer is watched.
	Requeue time.Duration
	Origin  Origin // of the generator
}

// GitQuestion asks for paths of a tree.
type GitQuestion struct {
	Input       Input     // source and revision
	Source      Source    // what Input.Source stands for; declared while the question is asked
	Directories []GitPath // patterns of directories
	Files       []GitPath // patterns of files, whose content is part of the answer
	// Greedy: in Files "*" and "?" cross directories too, and a pattern that
	// names a directory means everything below it, as in git's pathspecs
	// (upstream's default; argocd-cmd-params-cm
	// applicationsetcontroller.enable.new.git.file.globbing turns it off).
	Greedy bool
}

// GitPath is a glob of paths in a tree; "**" crosses directories.
type GitPath struct {
	Path    string
	Exclude bool
}

// Credential is what an API asks for; all fields are optional.
type Credential struct {
	Token    Secret
	Username string
	Password Secret
	App      *GitHubApp
	CA       []byte // PEM
	Insecure bool   // the server's certificate is not verified
}

// Forge is a server that hosts repositories.
type Forge struct {
	Kind       string // "github", "gitlab", "gitea", "bitbucket-cloud", "bitbucket-server", "azuredevops", "aws-codecommit"
	API        string // base address; "": the public one
	Credential Credential
	// Owner is the organization, group, workspace or project collection.
	Owner string
	// Project is Bitbucket's or Azure DevOps's project.
	Project string
}

// RepositoriesQuestion asks a forge for its repositories (scmProvider).
type RepositoriesQuestion struct {
	Forge         Forge
	AllBranches   bool
	Subgroups     bool  // GitLab: includeSubgroups
	SharedGroups  *bool // GitLab: includeSharedProjects; nil: true
	Topic         string
	CloneProtocol string // "ssh", "https"; "": ssh, as upstream
	Archived      bool   // archived ones too; GitLab lists them without being asked, depending on its version
	Filters       []RepositoryFilter
	CodeCommit    *CodeCommitQuestion // kind "aws-codecommit" only
}

// CodeCommitQuestion is what AWS CodeCommit is asked besides
// (scmProvider.awsCodeCommit).
type CodeCommitQuestion struct {
	Region, Role string      // "": those of the environment
	Tags         []TagFilter // all must match
}

// TagFilter passes what carries a tag; an empty Value passes any.
type TagFilter struct{ Key, Value string }

// RepositoryFilter passes a repository when every given field matches; a
// repository is generated when one filter passes. Expressions are Go's.
type RepositoryFilter struct {
	RepositoryMatch string
	PathsExist      []string
	PathsDoNotExist []string
	LabelMatch      string
	BranchMatch     string
}

// Repository is one repository, or one branch of it.
type Repository struct {
	Organization, Name, URL, Branch, SHA string
	Labels                               []string
	ID                                   string
}

// PullRequestsQuestion asks a forge for open pull requests (pullRequest).
type PullRequestsQuestion struct {
	Forge      Forge
	Repository string   // name, or GitLab's project
	Labels     []string // all must be there
	State      string   // GitLab: pullRequestState, such as "opened"; "": all states, as upstream
	// MissingIsEmpty: a repository that does not exist has no pull requests
	// (continueOnRepoNotFoundError).
	MissingIsEmpty bool
	Filters        []PullRequestFilter
}

// PullRequestFilter passes a pull request when every given expression matches.
type PullRequestFilter struct {
	BranchMatch, TargetBranchMatch, TitleMatch string
}

// PullRequest is one open pull request.
type PullRequest struct {
	Number                                       int
	Title, Branch, TargetBranch, HeadSHA, Author string
	Labels                                       []string
}

// PluginQuestion asks a generator plugin (Argo CD, "Plugin Generator").
type PluginQuestion struct {
	BaseURL        string
	Token          Secret
	Timeout        time.Duration
	ApplicationSet string // name of the asking set
	Parameters     map[string]any
}

// DecisionQuestion asks a resource that names clusters
// (clusterDecisionResource). The resources are among the facts: List holds all
// of them, Need is the ConfigMap that describes the kind.
type DecisionQuestion struct {
	Need Need
	List Need
}

// Answer is what was found. A failed question has a Fault and nothing else:
// unknown is not empty.
type Answer struct {
	Fault        *Fault
	Directories  []string
	Files        []TreeFile
	Repositories []Repository
	PullRequests []PullRequest
	Parameters   []map[string]any // of a plugin
}

// TreeFile is a file of a tree with its content.
type TreeFile struct {
	Path    string
	Content []byte
}
