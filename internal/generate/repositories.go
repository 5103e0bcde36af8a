package generate

import (
	"context"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"plumb.dev/plumb/internal/model"
)

// forge is what every kind of forge can be asked for.
type forge interface {
	// repositories lists what there is, each with its default branch.
	repositories(context.Context) ([]repository, error)
	// branches of a repository: all, or the default one. A repository without
	// commits has none.
	branches(ctx context.Context, r repository, all bool) ([]branch, error)
	// hasPath says whether a commit has a file or a directory. path is clean,
	// relative and not the root.
	hasPath(ctx context.Context, r repository, commit branch, path string) (bool, error)
	// pullRequests lists those of the repository that was asked for; when it
	// does not exist, the error isMissing.
	pullRequests(context.Context) ([]model.PullRequest, error)
}

// repository is one that a forge hosts.
type repository struct {
	model.Repository        // Branch is the default one, SHA is not known yet
	key              string // by which the API knows it
}

type branch struct{ name, sha string }

// repositoriesErrand understands a question for repositories.
func (a *Asker) repositoriesErrand(q model.RepositoriesQuestion) (errand, error) {
	what := fmt.Sprintf("list the repositories of %q", q.Forge.Owner)
	if q.Forge.Project != "" {
		what = fmt.Sprintf("list the repositories of %q", strings.TrimPrefix(q.Forge.Owner+"/"+q.Forge.Project, "/"))
	}
	fail := func(err error) (errand, error) { return errand{}, fmt.Errorf("%s: %w", what, err) }
	filters, err := compileFilters(q.Filters)
	if err != nil {
		return fail(err)
	}
	server, host, err := a.forge(forgeQuestion{
		Forge: q.Forge, protocol: q.CloneProtocol, archived: q.Archived,
		subgroups: q.Subgroups, shared: q.SharedGroups == nil || *q.SharedGroups, topic: q.Topic,
	})
	if err != nil {
		return fail(err)
	}
	s := search{forge: server, api: host, allBranches: q.AllBranches, filters: filters}
	key, err := sameness("repositories", host.identity, q.Forge.Owner, q.Forge.Project,
		q.AllBranches, q.Subgroups, q.SharedGroups, q.Topic, q.CloneProtocol, q.Archived, q.CodeCommit, q.Filters)
	if err != nil {
		return fail(err)
	}
	return errand{what: what, key: key, run: func(ctx context.Context) (model.Answer, error) {
		found, err := s.run(ctx)
		return model.Answer{Repositories: found}, err
	}}, nil
}

// search is one look for repositories and their branches (argo-cd,
// scm_provider.ListRepos).
type search struct {
	forge       forge
	api         *api
	allBranches bool
	filters     filters
}

func (s search) run(ctx context.Context) ([]model.Repository, error) {
	all, err := s.forge.repositories(ctx)
	if err != nil {
		return nil, err
	}
	wanted := slices.DeleteFunc(all, func(r repository) bool { return !s.filters.wantRepository(r) })
	heads, err := each(ctx, s.api, wanted, func(ctx context.Context, r repository) ([]branch, error) {
		found, err := s.forge.branches(ctx, r, s.allBranches)
		if err != nil {
			return nil, fmt.Errorf("branches of %s: %w", r.Name, err)
		}
		return found, nil
	})
	if err != nil {
		return nil, err
	}
	candidates, err := s.candidates(wanted, heads)
	if err != nil {
		return nil, err
	}
	passes, err := each(ctx, s.api, candidates, s.wantBranch)
	if err != nil {
		return nil, err
	}
	found := []model.Repository{}
	for i, one := range candidates {
		if passes[i] {
			r := one.Repository
			r.Branch, r.SHA = one.head.name, one.head.sha
			found = append(found, r)
		}
	}
	return found, nil
}

// candidate is a branch of a repository that may be part of the answer.
type candidate struct {
	repository
	head branch
}

func (s search) candidates(repositories []repository, heads [][]branch) ([]candidate, error) {
	limit := s.api.asker.limits.Results
	var all []candidate
	for i, r := range repositories {
		for _, head := range heads[i] {
			all = append(all, candidate{repository: r, head: head})
		}
		if len(all) > limit {
			return nil, errLimit{fmt.Sprintf("there are more than %d branches", limit)}
		}
	}
	return all, nil
}

// wantBranch applies the filters that look at a branch; passing one is enough.
func (s search) wantBranch(ctx context.Context, c candidate) (bool, error) {
	if len(s.filters.branch) == 0 {
		return true, nil
	}
	for _, f := range s.filters.branch {
		if !f.wantRepository(c.repository) || f.head != nil && !f.head.MatchString(c.head.name) {
			continue
		}
		ok, err := s.pathsFit(ctx, c, f)
		if err != nil {
			return false, fmt.Errorf("paths of %s: %w", c.Name, err)
		}
		if ok {
			return true, nil
		}
	}
	return false, nil
}

func (s search) pathsFit(ctx context.Context, c candidate, f filter) (bool, error) {
	for _, p := range f.present {
		if there, err := s.hasPath(ctx, c, p); err != nil || !there {
			return false, err
		}
	}
	for _, p := range f.absent {
		if there, err := s.hasPath(ctx, c, p); err != nil || there {
			return false, err
		}
	}
	return true, nil
}

// commitName is the full name of a commit (SHA-1 or SHA-256).
var commitName = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// hasPath remembers what a commit has: it never changes.
func (s search) hasPath(ctx context.Context, c candidate, p string) (bool, error) {
	p = strings.TrimPrefix(path.Clean("/"+p), "/")
	if p == "" {
		return true, nil
	}
	lasting := commitName.MatchString(c.head.sha)
	key := digest([]byte("path"), []byte(s.api.identity), []byte(c.key), []byte(c.Organization), []byte(c.Name), []byte(c.head.sha), []byte(p))
	if lasting {
		if known := s.api.asker.memory.recall(key); known != nil {
			return len(known.body) > 0, nil
		}
	}
	there, err := s.forge.hasPath(ctx, c.repository, c.head, p)
	if err != nil {
		return false, err
	}
	if lasting {
		fact := &memo{key: key}
		if there {
			fact.body = []byte{1}
		}
		s.api.asker.memory.keep(fact)
	}
	return there, nil
}

// filters are those of a question, divided as argo-cd divides them: one that
// looks at branches or paths is applied to branches, one that looks at names
// and labels only to repositories, one that says nothing not at all. A branch
// has to pass one of each group that there is.
type filters struct{ repository, branch []filter }

type filter struct {
	name, label, head *regexp.Regexp
	present, absent   []string
}

func compileFilters(declared []model.RepositoryFilter) (filters, error) {
	var all filters
	for _, d := range declared {
		f := filter{present: d.PathsExist, absent: d.PathsDoNotExist}
		for _, field := range []struct {
			name, pattern string
			into          **regexp.Regexp
		}{
			{"repositoryMatch", d.RepositoryMatch, &f.name},
			{"labelMatch", d.LabelMatch, &f.label},
			{"branchMatch", d.BranchMatch, &f.head},
		} {
			if err := compile(field.name, field.pattern, field.into); err != nil {
				return filters{}, err
			}
		}
		switch {
		case f.head != nil || f.present != nil || f.absent != nil:
			all.branch = append(all.branch, f)
		case f.name != nil || f.label != nil:
			all.repository = append(all.repository, f)
		}
	}
	return all, nil
}

// compile reads an expression; "" is none.
func compile(field, pattern string, into **regexp.Regexp) error {
	if pattern == "" {
		return nil
	}
	compiled, err := regexp.Compile(pattern)
	if err != nil {
		return advised{fmt.Errorf("%s %q of a filter is no regular expression", field, pattern), "write it as https://pkg.go.dev/regexp/syntax says"}
	}
	*into = compiled
	return nil
}

// wantRepository reports whether any branch of a repository can pass, so that
// nobody asks for the branches of the others.
func (f filters) wantRepository(r repository) bool {
	pass := func(one filter) bool { return one.wantRepository(r) }
	return (len(f.repository) == 0 || slices.ContainsFunc(f.repository, pass)) &&
		(len(f.branch) == 0 || slices.ContainsFunc(f.branch, pass))
}

func (f filter) wantRepository(r repository) bool {
	return (f.name == nil || f.name.MatchString(r.Name)) &&
		(f.label == nil || slices.ContainsFunc(r.Labels, f.label.MatchString))
}
