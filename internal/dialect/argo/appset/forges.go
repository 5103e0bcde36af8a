package appset

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/model"
)

// The kinds of forges, as model.Forge names them, by the fields of scmProvider
// and pullRequest.
var forgeKinds = map[string]string{
	"github": "github", "gitlab": "gitlab", "gitea": "gitea",
	"bitbucket": "bitbucket-cloud", "bitbucketServer": "bitbucket-server",
	"azureDevOps": "azuredevops", "azuredevops": "azuredevops", "awsCodeCommit": "aws-codecommit",
}

func forgesOfSCM(body any) (map[string]*forgeFields, *int64, error) {
	var g scmGenerator
	if err := decode(body, &g); err != nil {
		return nil, nil, err
	}
	return given(map[string]*forgeFields{
		"github": g.Github, "gitlab": g.Gitlab, "gitea": g.Gitea, "bitbucket": g.Bitbucket,
		"bitbucketServer": g.BitbucketServer, "azureDevOps": g.AzureDevOps, "awsCodeCommit": g.AWSCodeCommit,
	}), g.RequeueAfter, nil
}

func forgesOfPullRequests(body any) (map[string]*forgeFields, *int64, error) {
	var g pullRequestGenerator
	if err := decode(body, &g); err != nil {
		return nil, nil, err
	}
	return given(map[string]*forgeFields{
		"github": g.Github, "gitlab": g.Gitlab, "gitea": g.Gitea, "bitbucket": g.Bitbucket,
		"bitbucketServer": g.BitbucketServer, "azuredevops": g.AzureDevOps,
	}), g.RequeueAfter, nil
}

func given(all map[string]*forgeFields) map[string]*forgeFields {
	for name, fields := range all {
		if fields == nil {
			delete(all, name)
		}
	}
	return all
}

// The order in which upstream looks for a provider, where several are given.
var (
	scmOrder         = []string{"github", "gitlab", "gitea", "bitbucketServer", "azureDevOps", "bitbucket", "awsCodeCommit"}
	pullRequestOrder = []string{"github", "gitlab", "gitea", "bitbucketServer", "bitbucket", "azuredevops"}
)

// forge is the server that a generator asks. The second result names the
// Secrets that the credential comes from, in the state they are in.
func (e *expansion) forge(at string, providers map[string]*forgeFields, order []string) (*forgeFields, model.Forge, string, error) {
	if !e.options.SCMProviders {
		return nil, model.Forge{}, "", &placed{at, errors.New("scm providers are disabled (applicationsetcontroller.enable.scm.providers)")}
	}
	i := slices.IndexFunc(order, func(name string) bool { return providers[name] != nil })
	if i < 0 {
		return nil, model.Forge{}, "", &placed{at, errors.New("names no provider")}
	}
	name := order[i]
	p, where := providers[name], at+"."+name
	if err := e.allowedForge(p.API); err != nil {
		return nil, model.Forge{}, "", &placed{where + ".api", err}
	}
	forge := model.Forge{
		Kind: forgeKinds[name], API: p.API,
		Owner:   cmp.Or(p.Organization, p.Owner, p.Group),
		Project: cmp.Or(p.TeamProject, p.Project),
	}
	if forge.Kind == "gitlab" {
		forge.Project = ""
	}
	credential, holder, err := e.credential(where, p)
	if err != nil {
		return nil, model.Forge{}, "", err
	}
	forge.Credential = credential
	return p, forge, holder, nil
}

// allowedForge keeps tokens from being sent anywhere: where sets may live in
// any namespace, only listed addresses may be asked (ScmProviderAllowed).
func (e *expansion) allowedForge(api string) error {
	allowed := e.options.AllowedSCMProviders
	switch {
	case api == "", slices.Contains(allowed, api):
		return nil
	case len(allowed) > 0:
		return fmt.Errorf("scm provider %q is not allowed: it is none of %s", reader.Clip(withoutCredentials(api), 200), strings.Join(allowed, ", "))
	case e.set.id.Namespace != e.namespace:
		return fmt.Errorf("sets outside of %s may only ask addresses that applicationsetcontroller.allowed.scm.providers lists", e.namespace)
	}
	return nil
}

func (e *expansion) credential(at string, p *forgeFields) (model.Credential, string, error) {
	c := model.Credential{Insecure: p.Insecure}
	var holders []string
	ca, err := e.configMapKey(at+".caRef", p.CARef)
	if err != nil {
		return c, "", err
	}
	c.CA = ca
	secret := func(field string, ref *secretRef) model.Secret {
		value, holder, failed := e.secretKey(at+"."+field, ref)
		if failed != nil && err == nil {
			err = failed
		}
		holders = append(holders, holder)
		return value
	}
	switch {
	case p.AppSecretName != "":
		app, holder, failed := e.githubApp(at+".appSecretName", p.AppSecretName)
		if failed != nil {
			return c, "", failed
		}
		c.App = app
		holders = append(holders, holder)
	case p.BearerToken != nil:
		c.Token = secret("bearerToken.tokenRef", p.BearerToken.TokenRef)
	case p.BasicAuth != nil:
		c.Username = p.BasicAuth.Username
		c.Password = secret("basicAuth.passwordRef", p.BasicAuth.PasswordRef)
	case p.AppPasswordRef != nil:
		c.Username = p.User
		c.Password = secret("appPasswordRef", p.AppPasswordRef)
	case p.AccessTokenRef != nil:
		c.Token = secret("accessTokenRef", p.AccessTokenRef)
	default:
		c.Token = secret("tokenRef", p.TokenRef)
	}
	return c, strings.Join(holders, "\n"), err
}

// githubApp reads the Secret of a GitHub App, which is a repository credential
// of Argo CD (util/github_app).
func (e *expansion) githubApp(at, name string) (*model.GitHubApp, string, error) {
	o, err := lookup(e.facts, "Secret", e.namespace, name)
	if err != nil {
		return nil, "", &placed{at, err}
	}
	data := secretData(o)
	if data["githubAppPrivateKey"] == "" {
		return nil, "", &placed{at, fmt.Errorf("the Secret %s/%s holds no GitHub App", e.namespace, reader.Clip(name, maxName))}
	}
	if o.GetLabels()[labelSecretType] != typeRepoCreds && e.set.id.Namespace != e.namespace {
		return nil, "", &placed{at, fmt.Errorf("the Secret %s/%s does not carry the label %s=%s", e.namespace, reader.Clip(name, maxName), labelSecretType, typeRepoCreds)}
	}
	return &model.GitHubApp{
		AppID:          strings.TrimSpace(data["githubAppID"]),
		InstallationID: strings.TrimSpace(data["githubAppInstallationID"]),
		PrivateKey:     model.NewSecret([]byte(data["githubAppPrivateKey"])),
		BaseURL:        data["githubAppEnterpriseBaseUrl"],
	}, identity(o), nil
}

// forgeKey is what of a forge goes into the key of a question.
func forgeKey(f model.Forge, holder string) []any {
	return []any{f.Kind, f.API, f.Owner, f.Project, f.Credential.Username, f.Credential.CA, f.Credential.Insecure, holder}
}

// expressions checks the regular expressions of filters.
func expressions(at string, texts map[string]string) error {
	for _, name := range reader.SortedKeys(texts) {
		if _, err := regexp.Compile(texts[name]); err != nil {
			return &placed{at + "." + name, errors.New("is no regular expression")}
		}
	}
	return nil
}

// repositories: what a forge hosts (generators/scm_provider.go).
func (e *expansion) repositories(at string, body any) ([]params, error) {
	providers, requeue, err := forgesOfSCM(body)
	if err != nil {
		return nil, &placed{at, err}
	}
	var g scmGenerator
	if err := decode(body, &g); err != nil {
		return nil, &placed{at, err}
	}
	p, forge, holder, err := e.forge(at, providers, scmOrder)
	if err != nil {
		return nil, err
	}
	q := &model.RepositoriesQuestion{
		Forge: forge, AllBranches: p.AllBranches, Subgroups: p.IncludeSubgroups, SharedGroups: p.IncludeSharedProjects,
		Topic: p.Topic, CloneProtocol: g.CloneProtocol, Archived: !p.ExcludeArchivedRepos,
	}
	if forge.Kind == "gitlab" {
		q.Archived = p.IncludeArchivedRepos
	}
	if forge.Kind == "aws-codecommit" {
		q.CodeCommit = &model.CodeCommitQuestion{Region: p.Region, Role: p.Role}
		for _, tag := range p.TagFilters {
			q.CodeCommit.Tags = append(q.CodeCommit.Tags, model.TagFilter{Key: tag.Key, Value: tag.Value})
		}
	}
	for i, f := range g.Filters {
		where := fmt.Sprintf("%s.filters[%d]", at, i)
		if err := expressions(where, map[string]string{"repositoryMatch": f.RepositoryMatch, "labelMatch": f.LabelMatch, "branchMatch": f.BranchMatch}); err != nil {
			return nil, err
		}
		q.Filters = append(q.Filters, model.RepositoryFilter(f))
	}
	answer, err := e.answer(model.Question{
		Key:          keyOf("scm", forgeKey(forge, holder), q.AllBranches, q.Subgroups, q.SharedGroups, q.Topic, q.CloneProtocol, q.Archived, q.CodeCommit, q.Filters),
		Repositories: q,
		Requeue:      pollInterval(requeue, defaultPollInterval),
	}, at)
	if err != nil {
		return nil, err
	}
	var out []params
	for _, repo := range answer.Repositories {
		set := params{
			"organization": repo.Organization, "repository": repo.Name, "repository_id": repo.ID, "url": repo.URL,
			"branch": repo.Branch, "branchNormalized": normalize(repo.Branch),
			"sha": repo.SHA, "short_sha": head(repo.SHA, 8), "short_sha_7": head(repo.SHA, 7),
			"labels": strings.Join(repo.Labels, ","),
		}
		if err := e.render.addValues(at, g.Values, set); err != nil {
			return nil, err
		}
		out = append(out, set)
	}
	return out, nil
}

func head(text string, length int) string { return text[:min(len(text), length)] }

// pullRequests: the open ones of one repository (generators/pull_request.go).
func (e *expansion) pullRequests(at string, body any) ([]params, error) {
	providers, requeue, err := forgesOfPullRequests(body)
	if err != nil {
		return nil, &placed{at, err}
	}
	var g pullRequestGenerator
	if err := decode(body, &g); err != nil {
		return nil, &placed{at, err}
	}
	p, forge, holder, err := e.forge(at, providers, pullRequestOrder)
	if err != nil {
		return nil, err
	}
	q := &model.PullRequestsQuestion{
		Forge: forge, Repository: p.Repo, Labels: p.Labels, State: p.PullRequestState,
		MissingIsEmpty: g.ContinueOnRepoNotFoundError,
	}
	if forge.Kind == "gitlab" {
		q.Repository = p.Project
	}
	for i, f := range g.Filters {
		where := fmt.Sprintf("%s.filters[%d]", at, i)
		if err := expressions(where, map[string]string{"branchMatch": f.BranchMatch, "targetBranchMatch": f.TargetBranchMatch, "titleMatch": f.TitleMatch}); err != nil {
			return nil, err
		}
		q.Filters = append(q.Filters, model.PullRequestFilter(f))
	}
	answer, err := e.answer(model.Question{
		Key:          keyOf("pull requests", forgeKey(forge, holder), q.Repository, q.Labels, q.State, q.MissingIsEmpty, q.Filters),
		PullRequests: q,
		Requeue:      pollInterval(requeue, defaultPollInterval),
	}, at)
	if err != nil {
		return nil, err
	}
	var out []params
	for _, pull := range answer.PullRequests {
		set := params{
			"number": strconv.Itoa(pull.Number), "title": pull.Title,
			"branch": pull.Branch, "branch_slug": branchSlug(pull.Branch),
			"target_branch": pull.TargetBranch, "target_branch_slug": branchSlug(pull.TargetBranch),
			"head_sha": pull.HeadSHA, "head_short_sha": head(pull.HeadSHA, 8), "head_short_sha_7": head(pull.HeadSHA, 7),
			"author": pull.Author,
		}
		if e.set.spec.GoTemplate {
			set["labels"] = slices.Clone(pull.Labels)
		}
		if err := e.render.addValues(at, g.Values, set); err != nil {
			return nil, err
		}
		out = append(out, set)
	}
	return out, nil
}
