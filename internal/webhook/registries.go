package webhook

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"

	"plumb.dev/plumb/internal/model"
)

// harbor is recognised by the secret itself, which is required: Harbor sends no
// header of its own (argo-cd util/webhook/harbor.go).
var harbor = forge{name: "harbor", proves: func(*http.Request, []byte, Secrets) bool { return true }, decode: decodeHarbor}

func isHarbor(header http.Header, secrets Secrets) bool {
	given := header.Get("Authorization")
	return !secrets.Harbor.IsZero() && given != "" && equal(given, secrets.Harbor)
}

// decodeHarbor reads what Harbor tells of artifacts that were pushed. What has
// no tag moves nothing that anybody follows.
func decodeHarbor(r *http.Request, body []byte) (*Push, error) {
	var payload struct {
		Type      string `json:"type"`
		EventData struct {
			Resources []struct {
				Tag         string `json:"tag"`
				ResourceURL string `json:"resource_url"`
			} `json:"resources"`
			Repository struct {
				Name         string `json:"name"`
				Namespace    string `json:"namespace"`
				RepoFullName string `json:"repo_full_name"`
			} `json:"repository"`
		} `json:"event_data"`
	}
	if err := decode(r, body, &payload); err != nil {
		return nil, err
	}
	if payload.Type != "PUSH_ARTIFACT" {
		return nil, nil
	}
	repository := payload.EventData.Repository.RepoFullName
	if repository == "" {
		repository = payload.EventData.Repository.Namespace + "/" + payload.EventData.Repository.Name
	}
	push := &Push{Registry: true}
	for _, resource := range payload.EventData.Resources {
		at, err := url.Parse(ociScheme + strings.TrimPrefix(resource.ResourceURL, ociScheme))
		if err != nil || at.Hostname() == "" || resource.Tag == "" {
			continue
		}
		if address := ociScheme + at.Host + "/" + strings.Trim(repository, "/"); !slices.Contains(push.URLs, address) {
			push.URLs = append(push.URLs, address)
		}
		push.Changes = append(push.Changes, Change{Ref: resource.Tag})
	}
	if len(push.Changes) == 0 {
		return nil, nil
	}
	return push, nil
}

// hubPackage is a package of GitHub's registry.
type hubPackage struct {
	Action  string `json:"action"`
	Package struct {
		Name        string `json:"name"`
		PackageType string `json:"package_type"`
		Owner       struct {
			Login string `json:"login"`
		} `json:"owner"`
		PackageVersion struct {
			ContainerMetadata struct {
				Tag struct {
					Name string `json:"name"`
				} `json:"tag"`
			} `json:"container_metadata"`
		} `json:"package_version"`
	} `json:"package"`
}

// push is nil for what is no tag of an image (argo-cd util/webhook/ghcr.go).
func (h hubPackage) push() *Push {
	tag := h.Package.PackageVersion.ContainerMetadata.Tag.Name
	if h.Action != "published" || !strings.EqualFold(h.Package.PackageType, "container") || tag == "" {
		return nil
	}
	return &Push{
		URLs:     []string{ociScheme + "ghcr.io/" + h.Package.Owner.Login + "/" + h.Package.Name},
		Changes:  []Change{{Ref: tag}},
		Registry: true,
	}
}

const ociScheme = "oci://"

// Moves reports whether a source may be another one now: a Git source, an
// artifact of a registry or a chart of one.
func (p *Push) Moves(s *model.Source) bool {
	switch {
	case s.Git != nil:
		return !p.Registry && p.ConcernsSource(s.Git, s.Implied)
	case !p.Registry:
		return false
	case s.OCI != nil:
		return p.names(ociScheme+s.OCI.URL) && p.tagged(s.OCI)
	case s.Chart != nil && s.Chart.OCI:
		return p.names(ociScheme+strings.Trim(s.Chart.Repository, "/")+"/"+s.Chart.Name) && p.versioned(s.Chart.Version)
	}
	return false
}

// tagged reports whether one of the tags is what an artifact is read by. The
// order of fields is that of model.OCIRef.
func (p *Push) tagged(o *model.OCISource) bool {
	switch {
	case o.Revision != "":
		return p.versioned(o.Revision)
	case o.Ref.Digest != "":
		return false
	case o.Ref.SemVer != "":
		return p.versioned(o.Ref.SemVer)
	case o.Ref.Tag != "":
		return p.versioned(o.Ref.Tag)
	}
	return p.versioned("latest")
}

// versioned reports whether one of the tags is a name, or in the range that the
// name is. Tags write "_" for "+".
func (p *Push) versioned(name string) bool {
	allowed, err := semver.NewConstraint(name)
	return slices.ContainsFunc(p.Changes, func(c Change) bool {
		tag := strings.ReplaceAll(c.Ref, "_", "+")
		if c.Ref == "" || c.Ref == name || tag == name {
			return true
		}
		version, bad := semver.NewVersion(tag)
		return err == nil && bad == nil && allowed.Check(version)
	})
}
