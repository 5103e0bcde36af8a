package rows

import "testing"

const hash = "0123456789abcdef0123456789abcdef01234567"

func TestShortRevision(t *testing.T) {
	for revision, want := range map[string]string{
		"main@sha1:" + hash:                  "main@01234567",
		"refs/heads/main@sha1:" + hash:       "main@01234567",
		"v1.2.3@sha1:" + hash:                "v1.2.3@01234567",
		hash:                                 "01234567",
		"latest@sha256:" + hash + hash[:24]:  "latest@01234567",
		"sha256:" + hash + hash[:24]:         "01234567",
		"6.5.1":                              "6.5.1",
		"6.5.1+0123456789ab":                 "6.5.1+0123456789ab",
		"":                                   "",
		"release-" + hash[:12] + "@" + "1.0": "release-0123456789ab@1.0",
	} {
		if got := ShortRevision(revision); got != want {
			t.Errorf("%s: %q, want %q", revision, got, want)
		}
	}
}

func TestCommitURL(t *testing.T) {
	for _, c := range []struct{ repository, want string }{
		{"https://github.com/org/app.git", "https://github.com/org/app/commit/" + hash},
		{"https://ann:hunter2@github.com/org/app", "https://github.com/org/app/commit/" + hash},
		{"ssh://git@github.com/org/app.git", "https://github.com/org/app/commit/" + hash},
		{"ssh://git@ssh.github.com:443/org/app.git", "https://github.com/org/app/commit/" + hash},
		{"git@github.com:org/app.git", "https://github.com/org/app/commit/" + hash},
		{"https://github.example.org:8443/org/app", "https://github.example.org:8443/org/app/commit/" + hash},
		{"https://gitlab.com/group/sub/app.git", "https://gitlab.com/group/sub/app/-/commit/" + hash},
		{"git@gitlab.example.org:group/app.git", "https://gitlab.example.org/group/app/-/commit/" + hash},
		{"http://gitea.example.org:3000/org/app", "http://gitea.example.org:3000/org/app/commit/" + hash},
		{"ssh://git@codeberg.org/org/app", "https://codeberg.org/org/app/commit/" + hash},
		{"https://forgejo.example.org/org/app", "https://forgejo.example.org/org/app/commit/" + hash},
		{"https://ann@bitbucket.org/team/app.git", "https://bitbucket.org/team/app/commits/" + hash},
		{"https://bitbucket.example.org/scm/proj/app.git", "https://bitbucket.example.org/projects/proj/repos/app/commits/" + hash},
		{"ssh://git@bitbucket.example.org:7999/~ann/app.git", "https://bitbucket.example.org/users/ann/repos/app/commits/" + hash},
		{"https://org@dev.azure.com/org/the%20project/_git/app", "https://dev.azure.com/org/the%20project/_git/app/commit/" + hash},
		{"git@ssh.dev.azure.com:v3/org/project/app", "https://dev.azure.com/org/project/_git/app/commit/" + hash},
		{"https://org.visualstudio.com/project/_git/app", "https://org.visualstudio.com/project/_git/app/commit/" + hash},

		{"https://git.example.org/org/app", ""},
		{"https://notgithub.com/org/app", ""},
		{"https://github.com/org", ""},
		{"https://github.com/org/../app", ""},
		{"javascript://github.com/org/app", ""},
		{"oci://ghcr.io/org/app", ""},
		{"/srv/github.com/org/app", ""},
		{"file:///srv/app", ""},
		{"", ""},
	} {
		if got := CommitURL(c.repository, "main@sha1:"+hash); got != c.want {
			t.Errorf("%s: %q, want %q", c.repository, got, c.want)
		}
	}
	for revision, linked := range map[string]bool{
		hash: true, "main@sha1:" + hash: true,
		"1.2.3": false, "latest@sha256:" + hash + hash[:24]: false, "sha256:" + hash: false, hash[:8]: false, "": false,
	} {
		if got := CommitURL("https://github.com/org/app", revision) != ""; got != linked {
			t.Errorf("%s: linked %v", revision, got)
		}
	}
}
