package argocd

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"connectrpc.com/connect"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/signin"
)

// failed is an error with a code, for callers.
func failed(code connect.Code, format string, args ...any) error {
	return &coded{code: code, text: fmt.Sprintf(format, args...)}
}

// coded is an error with a code. Unlike connect.Error its text has no code in it,
// and it keeps its code when it is wrapped, as an error of grpc-go does.
type coded struct {
	code connect.Code
	text string
}

func (c *coded) Error() string { return c.text }

// asError puts an error into the codes of gRPC, as upstream's interceptors do
// (util/grpc, kubeErrToGRPC). What has no code is Unknown, as there.
func asError(err error) error {
	if err == nil {
		return nil
	}
	var already *connect.Error
	if errors.As(err, &already) {
		return already
	}
	return connect.NewError(codeOf(err), err)
}

func codeOf(err error) connect.Code {
	var c *coded
	var fault *model.Fault
	var status apierrors.APIStatus
	switch {
	case errors.As(err, &c):
		return c.code
	case errors.Is(err, context.DeadlineExceeded):
		return connect.CodeDeadlineExceeded
	case errors.Is(err, context.Canceled):
		return connect.CodeCanceled
	case errors.Is(err, signin.ErrUnavailable), errors.Is(err, signin.ErrNotReady):
		return connect.CodeUnavailable
	case errors.Is(err, signin.ErrBusy):
		return connect.CodeResourceExhausted
	case errors.Is(err, signin.ErrNoSession), errors.Is(err, signin.ErrInvalidSession), errors.Is(err, signin.ErrExpired), errors.Is(err, signin.ErrLogin):
		return connect.CodeUnauthenticated
	case errors.As(err, &status):
		return codeOfReason(apierrors.ReasonForError(err))
	case errors.As(err, &fault):
		if fault.Retry || fault.Waiting {
			return connect.CodeUnavailable
		}
		return connect.CodeInvalidArgument
	}
	return connect.CodeUnknown
}

// codeOfReason is the code of a refusal of Kubernetes.
func codeOfReason(reason metav1.StatusReason) connect.Code {
	switch reason {
	case metav1.StatusReasonNotFound:
		return connect.CodeNotFound
	case metav1.StatusReasonAlreadyExists:
		return connect.CodeAlreadyExists
	case metav1.StatusReasonInvalid, metav1.StatusReasonBadRequest:
		return connect.CodeInvalidArgument
	case metav1.StatusReasonMethodNotAllowed:
		return connect.CodeUnimplemented
	case metav1.StatusReasonServiceUnavailable:
		return connect.CodeUnavailable
	case metav1.StatusReasonForbidden:
		return connect.CodePermissionDenied
	case metav1.StatusReasonTimeout, metav1.StatusReasonServerTimeout:
		return connect.CodeDeadlineExceeded
	case metav1.StatusReasonUnauthorized:
		return connect.CodeUnauthenticated
	case metav1.StatusReasonConflict:
		return connect.CodeAborted
	}
	return connect.CodeUnknown
}

// httpStatus is the status of a code, for answers in JSON (grpc-gateway,
// HTTPStatusFromCode).
func httpStatus(code connect.Code) int {
	switch code {
	case connect.CodeCanceled:
		return 499
	case connect.CodeInvalidArgument, connect.CodeFailedPrecondition, connect.CodeOutOfRange:
		return http.StatusBadRequest
	case connect.CodeDeadlineExceeded:
		return http.StatusGatewayTimeout
	case connect.CodeNotFound:
		return http.StatusNotFound
	case connect.CodeAlreadyExists, connect.CodeAborted:
		return http.StatusConflict
	case connect.CodePermissionDenied:
		return http.StatusForbidden
	case connect.CodeUnauthenticated:
		return http.StatusUnauthorized
	case connect.CodeResourceExhausted:
		return http.StatusTooManyRequests
	case connect.CodeUnimplemented:
		return http.StatusNotImplemented
	case connect.CodeUnavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}
