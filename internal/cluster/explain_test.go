package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

func status(code int32, reason metav1.StatusReason, message string, causes ...metav1.StatusCause) error {
	s := metav1.Status{Status: metav1.StatusFailure, Code: code, Reason: reason, Message: message}
	if len(causes) > 0 {
		s.Details = &metav1.StatusDetails{Causes: causes}
	}
	return &apierrors.StatusError{ErrStatus: s}
}

func invalidField(field, message string) error {
	return status(422, metav1.StatusReasonInvalid, `X "x" is invalid: `+field+": "+message, metav1.StatusCause{Type: metav1.CauseTypeFieldValueInvalid, Field: field, Message: message})
}

// TestIsImmutable holds wordings of API servers of several versions, of CEL
// rules and of webhooks.
func TestIsImmutable(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want bool
	}{
		{invalidField("spec.selector", `Invalid value: {"matchLabels":{"app":"other"}}: field is immutable`), true},
		{invalidField("spec", "Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"), true},
		{invalidField("spec", "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.tolerations` (only additions to existing tolerations)"), true},
		{invalidField("spec", "Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"), true},
		{invalidField("spec.persistentvolumesource", "Forbidden: spec.persistentvolumesource is immutable after creation"), true},
		{invalidField("spec.clusterIPs[0]", `Invalid value: ["None"]: may not change once set`), true},
		{invalidField("roleRef", `Invalid value: {"apiGroup":"rbac.authorization.k8s.io"}: cannot change roleRef`), true},
		{invalidField("parameters", "Forbidden: updates to parameters are forbidden."), true},
		{invalidField("provisioner", "Forbidden: updates to provisioner are forbidden."), true},
		{invalidField("value", "Forbidden: may not be changed in an update."), true},
		{invalidField("data", "Forbidden: field is immutable when `immutable` is set"), true},
		{invalidField("value", `Invalid value: "string": Value is immutable`), true},
		{status(403, metav1.StatusReasonForbidden, `admission webhook "deny-immutable-field-updates.cnrm.cloud.google.com" denied the request: the IAMPolicyMember's spec is immutable`), true},
		{status(400, metav1.StatusReasonBadRequest, `admission webhook "validate.example.com" denied the request: spec.topology cannot be changed after creation`), true},

		{nil, false},
		{errors.New("field is immutable"), false},
		{invalidField("spec.mode", `Invalid value: "field is immutable": must be one of a, b`), false},
		{invalidField("spec.mode", "Invalid value: 3: the field is not immutable, but wrong"), false},
		{invalidField("spec.replicas", "Invalid value: -1: must be greater than or equal to 0"), false},
		{invalidField("spec.template.spec.containers[0].image", "Required value"), false},
		{status(409, metav1.StatusReasonConflict, "Operation cannot be fulfilled: the object has been modified"), false},
		{status(403, metav1.StatusReasonForbidden, `deployments.apps "immutable" is forbidden: User "x" cannot patch resource "deployments" in API group "apps" in the namespace "apps"`), false},
		{status(500, metav1.StatusReasonInternalError, "field is immutable"), false},
	} {
		if got := IsImmutable(tc.err); got != tc.want {
			t.Errorf("%v for %v", got, tc.err)
		}
	}
}

func TestExplainWhatServersRarelySay(t *testing.T) {
	id := object.ID{Group: "apps", Kind: "Deployment", Namespace: "apps", Name: "web"}
	sent := func(err error) error {
		return &url.Error{Op: "PATCH", URL: "https://10.0.0.1:6443/apis/apps/v1", Err: err}
	}
	for name, tc := range map[string]struct {
		err             error
		message, advice string
		retry           bool
	}{
		"stale":         {status(409, metav1.StatusReasonConflict, "the object has been modified"), "the object has been modified", "", true},
		"unauthorized":  {status(401, metav1.StatusReasonUnauthorized, "Unauthorized"), "(Unauthorized)", "renew the token", true},
		"overload":      {status(429, metav1.StatusReasonTooManyRequests, "too many requests, please try again later"), "(TooManyRequests)", "priority and fairness", true},
		"unavailable":   {status(503, metav1.StatusReasonServiceUnavailable, "apiserver not ready"), "apiserver not ready", "", true},
		"etcd":          {status(500, metav1.StatusReasonUnknown, "etcdserver: request timed out"), "failed: etcdserver", "", true},
		"etcd too big":  {status(500, metav1.StatusReasonUnknown, "etcdserver: request is too large"), "too large", "split it", false},
		"terminating":   {status(403, metav1.StatusReasonForbidden, `unable to create new content in namespace apps because it is being terminated`, metav1.StatusCause{Type: "NamespaceTerminating"}), "terminated", "the namespace apps is being deleted", true},
		"quota":         {status(403, metav1.StatusReasonForbidden, `pods "x" is forbidden: exceeded quota: compute`), "exceeded quota", "ResourceQuota", true},
		"policy":        {status(422, metav1.StatusReasonInvalid, `deployments.apps "web" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no latest tag`), "no latest tag", "the policy", false},
		"webhook":       {status(400, metav1.StatusReasonBadRequest, `admission webhook "x.example.com" denied the request: no`), "denied the request: no", "the policy", false},
		"strict":        {status(400, metav1.StatusReasonBadRequest, `Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: unknown field "spec.replica"`), "unknown field", "no field spec.replica", false},
		"unknown kind":  {&UnknownKindError{GVK: gvk("example.com/v1", "Widget")}, `no matches for kind "Widget" in version "example.com/v1"`, "install the CustomResourceDefinition of Widget.example.com", true},
		"old version":   {&UnknownKindError{GVK: gvk("policy/v1beta1", "PodDisruptionBudget"), Served: []string{"policy/v1"}}, "it is served in policy/v1", "change apiVersion to policy/v1", true},
		"refused":       {sent(syscall.ECONNREFUSED), "the API server at 10.0.0.1:6443 refused the connection", "check that it runs", true},
		"timeout":       {sent(context.DeadlineExceeded), "did not answer in time", "not overloaded", true},
		"cancelled":     {sent(context.Canceled), "cancelled", "", true},
		"reset":         {sent(syscall.ECONNRESET), "cannot be reached: connection reset by peer", "", true},
		"refused here":  {errors.New(`name "a/b" is not usable`), `name "a/b" is not usable`, "", false},
		"wrapped":       {fmt.Errorf("discover: %w", status(503, metav1.StatusReasonServiceUnavailable, "not ready")), "not ready", "", true},
		"proxy's words": {(&Cluster{}).statusError(&request{method: http.MethodGet}, &http.Response{StatusCode: 502, Header: http.Header{}}, []byte("<html>upstream 10.2.3.4</html>")), "failed", "", true},
	} {
		t.Run(name, func(t *testing.T) {
			f := Explain(tc.err, "apply", id, model.Origin{File: "web.yaml", Line: 3})
			if !strings.HasPrefix(f.Message, "Deployment/apps/web apply failed") || !strings.Contains(f.Message, tc.message) || !strings.Contains(f.Advice, tc.advice) || f.Retry != tc.retry {
				t.Errorf("message %q\nadvice %q\nretry %t", f.Message, f.Advice, f.Retry)
			}
			if f.Reason != "ReconciliationFailed" || f.Object != id || f.Origin.Line != 3 || !errors.Is(f, tc.err) {
				t.Errorf("%+v", f)
			}
			if strings.Contains(f.Message, "10.2.3.4") {
				t.Error("the proxy's page is repeated")
			}
		})
	}
}

func TestExplainKeepsFaultsAndReasons(t *testing.T) {
	id := object.ID{Kind: "ConfigMap", Namespace: "a", Name: "b"}
	known := &model.Fault{Reason: "BuildFailed", Message: "m"}
	if f := Explain(fmt.Errorf("x: %w", known), "apply", id, model.Origin{File: "f"}); f.Reason != "BuildFailed" || f.Object != id || f.Origin.File != "f" || known.Object == id {
		t.Errorf("%+v", f)
	}
	if f := Explain(status(500, "", "x"), "delete", id, model.Origin{}); f.Reason != "PruneFailed" {
		t.Errorf("%+v", f)
	}
	if Explain(nil, "apply", id, model.Origin{}) != nil {
		t.Error("no error, yet a fault")
	}
	if f := Explain(status(500, "", strings.Repeat("ä", 1<<20)), "apply", id, model.Origin{}); len(f.Message) > maxMessage+100 || !strings.HasSuffix(f.Message, "ä…") {
		t.Errorf("%d bytes", len(f.Message))
	}
}

// TestExplainSensitive puts a secret wherever a server may repeat one.
func TestExplainSensitive(t *testing.T) {
	id := object.ID{Kind: "ConfigMap", Namespace: "a", Name: "b"}
	for _, err := range []error{
		invalidField("data.x", `Invalid value: "`+canary+`": wrong`),
		invalidField("data.x", `Unsupported value: "`+canary+`": supported values: "a"`),
		status(400, metav1.StatusReasonBadRequest, `error decoding patch: invalid character ...|"`+canary+`"|...`),
		status(400, metav1.StatusReasonBadRequest, `ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal `+canary),
		status(403, metav1.StatusReasonForbidden, `admission webhook "w.example.com" denied the request: password `+canary+` is weak`),
		status(403, metav1.StatusReasonForbidden, `configmaps "b" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: `+canary),
		status(500, metav1.StatusReasonInternalError, `Internal error occurred: failed calling webhook "w.example.com": `+canary),
		status(422, metav1.StatusReasonInvalid, canary),
		status(409, metav1.StatusReasonConflict, `admission webhook "w.example.com" denied the request: `+canary),
	} {
		if f := ExplainSensitive(err, "apply", id, model.Origin{}); strings.Contains(f.Error(), canary) {
			t.Errorf("repeated: %s", f.Error())
		}
		if f := Explain(err, "apply", object.ID{Kind: "Secret", Namespace: "a", Name: "b"}, model.Origin{}); strings.Contains(f.Error(), canary) {
			t.Errorf("repeated: %s", f.Error())
		}
		if f := Explain(err, "apply", id, model.Origin{}); !strings.Contains(f.Error(), canary) {
			t.Errorf("an ordinary object loses what helps: %s", f.Error())
		}
	}
}
