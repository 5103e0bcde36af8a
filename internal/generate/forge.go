package generate

import (
	"context"
	"fmt"
	"net/http"

	"plumb.dev/plumb/internal/model"
)

// forgeQuestion is what a forge has to know of a question.
type forgeQuestion struct {
	model.Forge

	// For repositories.
	protocol  string // "", "ssh", "https"
	archived  bool
	subgroups bool
	shared    bool
	topic     string

	// For pull requests.
	pulls      bool
	repository string
	labels     []string
	state      string
}

// forge connects to the forge of a question.
func (a *Asker) forge(q forgeQuestion) (forge, *api, error) {
	switch q.Kind {
	case "github":
		return a.github(q)
	case "gitlab":
		return a.gitlab(q)
	case "gitea":
		return a.gitea(q)
	case "bitbucket-cloud":
		return a.bitbucketCloud(q)
	case "bitbucket-server":
		return a.bitbucketServer(q)
	case "azuredevops":
		return a.azureDevOps(q)
	case "aws-codecommit":
		return nil, nil, advised{
			fmt.Errorf("AWS CodeCommit is not supported"),
			"name the repositories in a list or git generator, or answer for them with a plugin generator",
		}
	}
	return nil, nil, fmt.Errorf("%q is no forge that is known", q.Kind)
}

// check refuses an unknown protocol and names that cannot be used, before
// anything is asked.
func (q forgeQuestion) check(server string, required ...string) error {
	if err := q.named(required...); err != nil {
		return err
	}
	_, err := cloneURL(server, q.protocol, "", "")
	return err
}

// named checks what is required, as names has it, and the repository where its
// pull requests are asked for.
func (q forgeQuestion) named(required ...string) error {
	if q.pulls {
		required = append(required, "the repository", q.repository)
	}
	return names(required...)
}

// names checks what becomes part of paths, in the order what, name, what, name.
func names(pairs ...string) error {
	for i := 0; i < len(pairs); i += 2 {
		if err := plainName(pairs[i], pairs[i+1]); err != nil {
			return err
		}
	}
	return nil
}

// cloneURL picks an address by protocol; ssh is the default.
func cloneURL(server, protocol, ssh, https string) (string, error) {
	switch protocol {
	case "", "ssh":
		return ssh, nil
	case "https":
		return https, nil
	}
	return "", advised{fmt.Errorf("unknown clone protocol for %s %s", server, protocol), "use ssh or https"}
}

// tokenIn sends the token, if there is one, in a header.
func tokenIn(name, before string, c model.Credential) func(context.Context, http.Header) error {
	return func(_ context.Context, header http.Header) error {
		if !c.Token.IsZero() {
			header.Set(name, before+string(c.Token.Reveal()))
		}
		return nil
	}
}

// onlyBranch asks for one branch. A branch that is missing is none: the
// repository has no commits.
func onlyBranch[B interface{ branch() branch }](ctx context.Context, c *api, path string) ([]branch, error) {
	var one B
	_, err := c.get(ctx, request{path: path}, &one)
	switch {
	case isMissing(err):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return []branch{one.branch()}, nil
}

// hubPull is a pull request as GitHub tells of it, and Gitea after it.
type hubPull struct {
	Number int    `json:"number"`
	Title  string `json:"title"`
	Head   struct {
		Ref string `json:"ref"`
		SHA string `json:"sha"`
	} `json:"head"`
	Base struct {
		Ref string `json:"ref"`
	} `json:"base"`
	User struct {
		Login string `json:"login"`
	} `json:"user"`
	Labels []struct {
		Name string `json:"name"`
	} `json:"labels"`
}

func (p hubPull) name() string { return number(p.Number) }

// hubPulls are the pull requests that have all labels that are asked for.
func hubPulls(all []hubPull, wanted []string) []model.PullRequest {
	found := []model.PullRequest{}
	for _, p := range all {
		var labels []string
		for _, label := range p.Labels {
			labels = append(labels, label.Name)
		}
		if !labelled(wanted, labels) {
			continue
		}
		found = append(found, model.PullRequest{
			Number: p.Number, Title: p.Title, Branch: p.Head.Ref, TargetBranch: p.Base.Ref,
			HeadSHA: p.Head.SHA, Author: p.User.Login, Labels: labels,
		})
	}
	return found
}
