package generate

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"plumb.dev/plumb/internal/model"
)

// pullRequestsErrand understands a question for pull requests.
func (a *Asker) pullRequestsErrand(q model.PullRequestsQuestion) (errand, error) {
	place := slices.DeleteFunc([]string{q.Forge.Owner, q.Forge.Project, q.Repository}, func(s string) bool { return s == "" })
	what := fmt.Sprintf("list the pull requests of %q", strings.Join(place, "/"))
	fail := func(err error) (errand, error) { return errand{}, fmt.Errorf("%s: %w", what, err) }
	filters, err := compilePullRequestFilters(q.Filters)
	if err != nil {
		return fail(err)
	}
	server, host, err := a.forge(forgeQuestion{
		Forge: q.Forge, pulls: true, repository: q.Repository, labels: q.Labels, state: q.State,
	})
	if err != nil {
		return fail(err)
	}
	key, err := sameness("pull requests", host.identity, q.Forge.Owner, q.Forge.Project,
		q.Repository, q.Labels, q.State, q.MissingIsEmpty, q.Filters)
	if err != nil {
		return fail(err)
	}
	return errand{what: what, key: key, run: func(ctx context.Context) (model.Answer, error) {
		all, err := server.pullRequests(ctx)
		switch {
		case q.MissingIsEmpty && isMissing(err):
			return model.Answer{PullRequests: []model.PullRequest{}}, nil
		case err != nil:
			return model.Answer{}, err
		}
		found := slices.DeleteFunc(all, func(p model.PullRequest) bool { return !wantPullRequest(filters, p) })
		return model.Answer{PullRequests: found}, nil
	}}, nil
}

// pullRequestFilter is a model.PullRequestFilter ready to match.
type pullRequestFilter struct{ branch, target, title *regexp.Regexp }

func compilePullRequestFilters(declared []model.PullRequestFilter) ([]pullRequestFilter, error) {
	all := make([]pullRequestFilter, len(declared))
	for i, d := range declared {
		f := &all[i]
		err := errors.Join(
			compile("branchMatch", d.BranchMatch, &f.branch),
			compile("targetBranchMatch", d.TargetBranchMatch, &f.target),
			compile("titleMatch", d.TitleMatch, &f.title),
		)
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// wantPullRequest applies filters; passing one is enough (argo-cd,
// pull_request.ListPullRequests).
func wantPullRequest(filters []pullRequestFilter, p model.PullRequest) bool {
	return len(filters) == 0 || slices.ContainsFunc(filters, func(f pullRequestFilter) bool {
		return (f.branch == nil || f.branch.MatchString(p.Branch)) &&
			(f.target == nil || f.target.MatchString(p.TargetBranch)) &&
			(f.title == nil || f.title.MatchString(p.Title))
	})
}

// labelled reports whether all wanted labels are there.
func labelled(wanted, labels []string) bool {
	return !slices.ContainsFunc(wanted, func(label string) bool { return !slices.Contains(labels, label) })
}
