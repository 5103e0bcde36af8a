package helmrepo

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/source/dial"
)

// Condition reasons, in the words of source-controller (api/v1
// condition_types.go and helmrepository_types.go, internal/helm/chart
// errors.go).
const (
	reasonURLInvalid     = "URLInvalid"
	reasonAuthentication = "AuthenticationFailed"
	reasonFailed         = "Failed"
	reasonIndexation     = "IndexationFailed"
	reasonReference      = "InvalidChartReference"
	reasonPull           = "ChartPullError"
)

// Index looks at the index now and returns its digest ("sha256:…") and its
// text, as the repository serves it. Faults: URLInvalid, AuthenticationFailed
// (the client cannot be configured), Failed (the index cannot be fetched) and
// IndexationFailed (it is none).
func (c *Client) Index(ctx context.Context, spec *model.IndexSource) (digest string, content io.ReadCloser, err error) {
	r, err := c.open(spec.URL, &spec.Auth)
	if err != nil {
		return "", nil, err
	}
	found, err := c.look(ctx, r, time.Now(), true)
	if err != nil {
		f := r.fault(err, &spec.Auth)
		f.Reason, f.Message = reasonFailed, "failed to fetch Helm repository index: "+f.Message
		if errors.As(err, &errIndex{}) {
			f.Reason, f.Message = reasonIndexation, "failed to load Helm repository from index YAML: "+r.errorText(err)
		}
		return "", nil, f
	}
	text, err := gzip.NewReader(bytes.NewReader(found.text))
	if err != nil {
		return "", nil, err
	}
	return found.digest, text, nil
}

// Resolve finds the highest version of a chart that spec.Version allows in the
// index, which may be as old as spec.Fresh. The address is where the index says
// that the package is, which may be a registry ("oci://…"). Faults:
// InvalidChartReference for a chart or version that does not exist,
// ChartPullError where the index cannot be had, URLInvalid,
// AuthenticationFailed.
func (c *Client) Resolve(ctx context.Context, spec *model.ChartSource) (model.ChartArtifact, error) {
	r, err := c.open(spec.Repository, &spec.Auth)
	if err != nil {
		return model.ChartArtifact{}, err
	}
	seen, err := c.look(ctx, r, time.Now().Add(-spec.Fresh), false)
	if err != nil {
		f := r.fault(err, &spec.Auth)
		f.Reason, f.Message = reasonPull, "chart pull error: failed to get chart version for remote reference: "+f.Message
		return model.ChartArtifact{}, f
	}
	found, err := seen.index.find(spec.Name, spec.Version)
	if err != nil {
		return model.ChartArtifact{}, r.unresolved(err)
	}
	artifact := model.ChartArtifact{
		Name:    spec.Name,
		Version: found.version,
		Digest:  found.digestText(),
		Created: found.createdAt(),
	}
	if found.url == "" {
		return model.ChartArtifact{}, &model.Fault{
			Reason:  reasonPull,
			Message: fmt.Sprintf("chart pull error: chart '%s' %s has no downloadable URLs in the index of %s", spec.Name, found.version, r.display()),
			Advice:  "the repository has to be indexed again",
			Retry:   true,
		}
	}
	address, err := r.resolve(found.url)
	if err != nil {
		return model.ChartArtifact{}, &model.Fault{
			Reason:  reasonPull,
			Message: fmt.Sprintf("chart pull error: failed to download chart '%s' %s: %s", spec.Name, found.version, err),
			Advice:  "the repository has to be indexed again",
			Retry:   true,
		}
	}
	artifact.Address = address.String()
	return artifact, nil
}

// unresolved is the fault of a chart or version that does not exist. It may
// appear: the index is looked at again.
func (r *repository) unresolved(err error) *model.Fault {
	f := &model.Fault{
		Reason:  reasonReference,
		Message: fmt.Sprintf("invalid chart reference: failed to get chart version for remote reference: %s (repository %s)", r.errorText(err), r.display()),
		Retry:   true,
	}
	var absent *missing
	if errors.As(err, &absent) {
		f.Advice = r.http.Scrub(absent.advice) // it quotes the index
	}
	return f
}

// Download opens the package that Resolve found, once it has arrived and has
// the digest that the index tells. Credentials go only to the repository's host
// unless spec.Auth.PassAll. Fault: ChartPullError.
func (c *Client) Download(ctx context.Context, spec *model.ChartSource, chart model.ChartArtifact) (io.ReadCloser, error) {
	r, err := c.open(spec.Repository, &spec.Auth)
	if err != nil {
		return nil, err
	}
	address, err := packageAddress(chart.Address)
	if err != nil {
		return nil, &model.Fault{
			Reason:  reasonPull,
			Message: fmt.Sprintf("chart pull error: failed to download chart '%s' %s: %s", chart.Name, chart.Version, err),
			Advice:  "where the package is in a registry, name that in the HelmRepository (spec.type oci), or use an OCIRepository",
			Err:     err,
		}
	}
	got, err := c.fetch(ctx, r, &spec.Auth, r.withQuery(address), chart.Digest)
	if err != nil {
		f := r.fault(err, &spec.Auth)
		f.Reason = reasonPull
		f.Message = fmt.Sprintf("chart pull error: failed to download chart '%s' %s from %s: %s", chart.Name, chart.Version, dial.Display(address), r.errorText(err))
		if errors.Is(err, errDigest) {
			f.Advice = "the package was replaced, or the index is out of date: index the repository again"
		}
		return nil, f
	}
	return io.NopCloser(bytes.NewReader(got.bytes)), nil
}

// display is the address of the repository for messages.
func (r *repository) display() string { return dial.Display(r.base) }

func (r *repository) errorText(err error) string {
	if errors.Is(err, dial.ErrTooLarge) {
		return "it is larger than allowed"
	}
	return r.http.Scrub(err.Error())
}

// fault tells what went wrong with the index, and what to do about it.
func (r *repository) fault(err error, auth *model.HTTPAuth) *model.Fault {
	f := &model.Fault{
		Message: fmt.Sprintf("%s: %s", dial.Display(r.within("index.yaml")), r.errorText(err)),
		Retry:   true,
		Err:     err,
	}
	f.Advice = advise(err, auth)
	return f
}

// advise says what may mend an error.
func advise(err error, auth *model.HTTPAuth) string {
	var status *dial.StatusError
	var name *net.DNSError
	var index errIndex
	anonymous := auth.Username == "" && auth.Password.IsZero() && auth.BearerToken.IsZero()
	switch {
	case errors.As(err, &status) && status.Denied() && anonymous:
		return "the repository asks for credentials: name a Secret with 'username' and 'password' in spec.secretRef"
	case errors.As(err, &status) && status.Denied():
		return "check the credentials in the Secret of the repository; they go to other hosts only with spec.passCredentials"
	case errors.As(err, &status) && status.Lasting():
		return "check the address of the repository"
	case errors.As(err, &status):
		return "the server is in trouble: it is asked again"
	case errors.Is(err, dial.ErrTooLarge):
		return "split the repository, or raise the limit"
	case errors.As(err, &index):
		return "check that the address is that of a Helm repository, and index it again"
	case errors.As(err, &name):
		return "check the host in the address of the repository"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "check the address of the repository, and that the server is up"
	case errors.Is(err, context.DeadlineExceeded):
		return "the server may be overloaded or out of reach; raise spec.timeout if it is only slow"
	}
	return ""
}
