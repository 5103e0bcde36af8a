package generate

import (
	"fmt"

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

// checkProtocol refuses an unknown protocol before anything is asked.
func checkProtocol(server string, q forgeQuestion) error {
	_, err := cloneURL(server, q.protocol, "", "")
	return err
}
