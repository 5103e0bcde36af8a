package bucket

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"syscall"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/source/dial"
)

// fault tells what went wrong, and what to do about it. limit is that of a
// listing.
func (p *place) fault(ctx context.Context, doing string, err error, limit int) error {
	var known *model.Fault
	if errors.As(err, &known) {
		return known
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	f := &model.Fault{Reason: reasonOperationFailed, Retry: true, Err: err}
	text := p.scrub(err.Error())
	switch {
	case errors.Is(err, errNoBucket):
		f.Message = fmt.Sprintf("bucket '%s' not found", p.spec.Name)
		f.Advice = "create the bucket, or correct spec.bucketName, spec.endpoint or spec.region"
		return f
	case errors.Is(err, fs.ErrNotExist):
		text = "it does not exist"
	case errors.Is(err, errTooMany):
		text = fmt.Sprintf("%s: more than %d", errTooMany, limit)
	}
	f.Message = doing + ": " + text
	f.Advice = p.advise(err)
	return f
}

// advise says what may mend an error.
func (p *place) advise(err error) string {
	var answer *refusal
	var name *net.DNSError
	var unproven *tls.CertificateVerificationError
	switch {
	case errors.As(err, &answer) && answer.clock:
		return "the clocks of this machine and of the store differ too much"
	case errors.As(err, &answer) && (answer.code == http.StatusForbidden || answer.code == http.StatusUnauthorized):
		if p.anonymous() {
			return "the store asks for credentials: name a Secret in spec.secretRef"
		}
		return "check the credentials of the Bucket, and that they allow to list it and to get its objects"
	case errors.As(err, &answer) && answer.code >= http.StatusMultipleChoices && answer.code < http.StatusBadRequest:
		return "the bucket lives elsewhere: correct spec.endpoint or spec.region"
	case errors.Is(err, errTooMany), errors.Is(err, errEndless):
		return "narrow spec.prefix, or use a bucket of its own for what is delivered"
	case errors.Is(err, dial.ErrTooLarge):
		return "the server answers with more than any store does: check spec.endpoint"
	case errors.As(err, &name):
		return "check the host in spec.endpoint"
	case errors.As(err, &unproven):
		return "name the certificate authority in spec.certSecretRef"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "check spec.endpoint, and that the store is up"
	case errors.Is(err, context.DeadlineExceeded):
		return "the store may be overloaded or out of reach; raise spec.timeout if it is only slow"
	}
	return ""
}

// anonymous reports whether requests carry no credential.
func (p *place) anonymous() bool {
	s := &p.spec
	return s.Auth.Username == "" && s.Auth.Workload == nil && s.STS == nil && s.ServiceAccount.IsZero() && len(s.AzureKeys) == 0
}
