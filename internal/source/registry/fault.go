package registry

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/source/dial"
)

// Condition reasons, in the words of source-controller (api/v1
// condition_types.go and ocirepository_types.go, internal/helm/chart/errors.go).
const (
	reasonURLInvalid     = "URLInvalid"
	reasonAuthentication = "AuthenticationFailed"
	reasonRead           = "ReadOperationFailed"
	reasonPull           = "OCIArtifactPullFailed"
	reasonLayer          = "OCIArtifactLayerOperationFailed"
	reasonChartReference = "InvalidChartReference"
	reasonChartPull      = "ChartPullError"
	reasonVerification   = "VerificationError"
)

var errStalled = errors.New("the registry stopped sending")

// errLasting is an error that asking again does not mend.
type errLasting struct{ text, advice string }

func (e errLasting) Error() string { return e.text }

// errNoVersion is a version that does not exist yet.
type errNoVersion struct{ text string }

func (e errNoVersion) Error() string { return e.text }

// errContentLayers is an artifact with none or several layers of content.
type errContentLayers int

func (e errContentLayers) Error() string {
	return fmt.Sprintf("expected only a single oci content layer, got %d", int(e))
}

// fault makes the fault of something that failed at a place. A fault stays as
// it is.
func (p *place) fault(reason string, err error, doing string, args ...any) *model.Fault {
	var already *model.Fault
	if errors.As(err, &already) {
		return already
	}
	message := p.scrub(explain(err))
	if doing != "" {
		message = fmt.Sprintf(doing, args...) + ": " + message
	}
	f := &model.Fault{Reason: reason, Message: message, Err: err}
	f.Advice, f.Retry = outlook(err)
	return f
}

// explain is an error without the addresses that a registry redirects to, which
// carry credentials of their own.
func explain(err error) string {
	var answer *transport.Error
	var failed *url.Error
	var distrust *tls.CertificateVerificationError
	switch {
	case errors.As(err, &distrust): // before what plain HTTP answered, where that was tried too
		return distrust.Error()
	case errors.As(err, &answer):
		return explainAnswer(answer)
	case errors.As(err, &failed):
		if at, err := url.Parse(failed.URL); err == nil {
			return dial.Display(at) + ": " + failed.Err.Error()
		}
		return failed.Err.Error()
	}
	return err.Error()
}

// explainAnswer prints the answer of a registry as go-containerregistry does,
// less what is not meant for people.
func explainAnswer(answer *transport.Error) string {
	var b strings.Builder
	if r := answer.Request; r != nil && r.URL != nil {
		fmt.Fprintf(&b, "%s %s: ", r.Method, dial.Display(r.URL))
	}
	if len(answer.Errors) == 0 {
		fmt.Fprintf(&b, "unexpected status code %d %s", answer.StatusCode, http.StatusText(answer.StatusCode))
	}
	for i, said := range answer.Errors {
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "%s: %s", said.Code, said.Message)
	}
	return b.String()
}

// outlook says what to do about an error, and whether asking again can help.
func outlook(err error) (advice string, retry bool) {
	var (
		answer    *transport.Error
		lasting   errLasting
		layers    errContentLayers
		distrust  *tls.CertificateVerificationError
		noVersion errNoVersion
		unsigned  errUnsigned
	)
	switch {
	case errors.As(err, &lasting):
		return lasting.advice, false
	case errors.As(err, &layers), errors.Is(err, dial.ErrTooLarge):
		return "", false
	case errors.As(err, &unsigned):
		return unsigned.advice, true
	case errors.As(err, &noVersion):
		return "check the range, and that such a version has been pushed", true
	case errors.As(err, &distrust):
		return "name the certificate authority of the registry (spec.certSecretRef)", false
	case !errors.As(err, &answer):
		return "", true
	}
	switch answer.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return "check that the credential is valid for the registry and may read the repository", true
	case http.StatusNotFound:
		return "check the address and the reference, and that it has been pushed", true
	}
	return "", answer.StatusCode >= http.StatusInternalServerError ||
		answer.StatusCode == http.StatusTooManyRequests || answer.StatusCode == http.StatusRequestTimeout
}

// missing reports whether a registry says that something is not there.
func missing(err error) bool {
	var answer *transport.Error
	return errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound
}
