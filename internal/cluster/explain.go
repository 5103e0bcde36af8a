package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// Condition reasons of kustomize-controller
// (fluxcd/pkg/apis/meta, kustomize-controller/api).
const (
	reasonReconciliation = "ReconciliationFailed"
	reasonPrune          = "PruneFailed"
)

// maxMessage bounds what a server's message adds to a status.
const maxMessage = 4 << 10

// Explain turns an error of this package into a fault: what cannot be done to
// which object, why in the API server's words, what to do about it, and
// whether trying again can help. what is the attempt, such as "apply",
// "dry-run" or "delete". Of Secrets no value is repeated. A fault is returned
// as it is, with object and origin where it had none.
func Explain(err error, what string, id object.ID, origin model.Origin) *model.Fault {
	return explain(err, what, id, origin, id.Kind == "Secret" && id.Group == "")
}

// ExplainSensitive is Explain for an object of any kind that holds secret
// material, such as a substituted variable: no value in the server's answer is
// repeated.
func ExplainSensitive(err error, what string, id object.ID, origin model.Origin) *model.Fault {
	return explain(err, what, id, origin, true)
}

func explain(err error, what string, id object.ID, origin model.Origin, sensitive bool) *model.Fault {
	if err == nil {
		return nil
	}
	var fault *model.Fault
	if errors.As(err, &fault) {
		f := *fault
		if f.Object.IsZero() {
			f.Object = id
		}
		if f.Origin == (model.Origin{}) {
			f.Origin = origin
		}
		return &f
	}
	f := &model.Fault{Reason: reasonReconciliation, Object: id, Origin: origin, Err: err}
	if what == "delete" || what == "prune" {
		f.Reason = reasonPrune
	}
	d := diagnose(err, id, sensitive)
	f.Advice, f.Retry = d.advice, d.retry
	label := d.label
	if label != "" {
		label = " (" + label + ")"
	}
	f.Message = fmt.Sprintf("%s %s failed%s: %s", id, what, label, cut(d.message))
	return f
}

func cut(message string) string {
	if len(message) <= maxMessage {
		return message
	}
	return strings.ToValidUTF8(message[:maxMessage], "") + "…"
}

// diagnosis is what an error means to a person.
type diagnosis struct {
	label   string // in brackets, as Flux prints it: the API server's reason
	message string
	advice  string
	retry   bool
}

func diagnose(err error, id object.ID, sensitive bool) diagnosis {
	var unknown *UnknownKindError
	if errors.As(err, &unknown) {
		return diagnoseUnknown(unknown)
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return diagnoseTransport(err)
	}
	s := status.Status()
	d := diagnosis{label: label(s), message: s.Message}
	if sensitive {
		d.message = withoutValues(s)
	}
	// The order matters: the first that fits is the most precise.
	for _, known := range []func(metav1.Status, object.ID, *diagnosis) bool{
		denied, webhookUnreachable, managerConflict, staleConflict, terminating, namespaceMissing,
		quota, permission, undeclared, immutable, tooLarge, invalid, overload,
	} {
		if known(s, id, &d) {
			break
		}
	}
	return d
}

// label is the reason of a status, or the more precise cause that Flux prints.
func label(s metav1.Status) string {
	for _, cause := range causes(s) {
		if cause.Type == metav1.CauseTypeFieldManagerConflict {
			return string(cause.Type)
		}
	}
	if s.Reason == metav1.StatusReasonUnknown {
		return ""
	}
	return string(s.Reason)
}

func causes(s metav1.Status) []metav1.StatusCause {
	if s.Details == nil {
		return nil
	}
	return s.Details.Causes
}

func diagnoseUnknown(e *UnknownKindError) diagnosis {
	d := diagnosis{label: string(metav1.StatusReasonNotFound), message: e.Error(), retry: true}
	if len(e.Served) > 0 {
		d.advice = "change apiVersion to " + e.Served[0]
	} else {
		d.advice = "install the CustomResourceDefinition of " + e.GVK.GroupKind().String() + ", or have this wait for what does"
	}
	return d
}

func diagnoseTransport(err error) diagnosis {
	d := diagnosis{message: err.Error(), retry: true}
	host := "the API server"
	var sent *url.Error
	if errors.As(err, &sent) {
		if u, bad := url.Parse(sent.URL); bad == nil && u.Host != "" {
			host = "the API server at " + u.Host
		}
	}
	var (
		unknownCA *x509.UnknownAuthorityError
		badHost   *x509.HostnameError
		badCert   *tls.CertificateVerificationError
		netErr    net.Error
	)
	switch {
	case errors.Is(err, errTooLarge):
		d.message, d.retry = err.Error(), false
	case errors.Is(err, errSyntax), errors.Is(err, errDepth):
		d.message = "the answer of " + host + " cannot be read: " + err.Error()
	case errors.Is(err, context.Canceled):
		d.message = "it was cancelled before " + host + " answered"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		d.label = string(metav1.StatusReasonTimeout)
		d.message = host + " did not answer in time"
		d.advice = "check that it is reachable and not overloaded"
	case errors.As(err, &unknownCA), errors.As(err, &badHost), errors.As(err, &badCert):
		d.message = "the certificate of " + host + " is not trusted: " + innermost(err)
		d.advice = "check certificate-authority-data and server in the kubeconfig"
	case utilnet.IsConnectionRefused(err):
		d.message = host + " refused the connection"
		d.advice = "check that it runs and that the address is right"
	case sent != nil:
		d.message = host + " cannot be reached: " + sent.Err.Error()
	default: // refused here, before anything was sent
		d.retry = false
	}
	return d
}

func innermost(err error) string {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err.Error()
		}
		err = next
	}
}

// withoutValues says what is wrong with an object that holds secrets: only
// what the API server builds from names. Its messages otherwise may quote
// anything that was sent.
func withoutValues(s metav1.Status) string {
	switch {
	case rbacDenial.MatchString(s.Message):
		return s.Message
	case s.Reason == metav1.StatusReasonNotFound, s.Reason == metav1.StatusReasonAlreadyExists,
		s.Reason == metav1.StatusReasonConflict && !strings.Contains(s.Message, "webhook"):
		return s.Message
	}
	if m := webhookName.FindString(s.Message); m != "" {
		return m
	}
	if strings.Contains(s.Message, illegalBase64) {
		return "a value under data is not base64"
	}
	var parts []string
	for _, cause := range causes(s) {
		part := cause.Field
		if kind := causeWords[cause.Type]; kind != "" {
			part += ": " + kind
		}
		if immutableWords.MatchString(unquoted(cause.Message)) {
			part += ": field is immutable"
		}
		parts = append(parts, part)
	}
	for _, m := range undeclaredPath.FindAllStringSubmatch(s.Message, -1) {
		parts = append(parts, m[1]+": field not declared in schema")
	}
	for _, m := range unknownField.FindAllStringSubmatch(s.Message, -1) {
		parts = append(parts, fmt.Sprintf("unknown field %q", m[1]))
	}
	if len(parts) == 0 {
		return fmt.Sprintf("the API server answered %d %s; the details are withheld, since they may repeat secret values", s.Code, http.StatusText(int(s.Code)))
	}
	return "the object is invalid: " + strings.Join(parts, ", ") + " (values are withheld)"
}

// causeWords are the words of k8s.io/apimachinery/pkg/util/validation/field.
var causeWords = map[metav1.CauseType]string{
	metav1.CauseTypeFieldValueInvalid:      "Invalid value",
	metav1.CauseTypeFieldValueRequired:     "Required value",
	metav1.CauseTypeFieldValueDuplicate:    "Duplicate value",
	metav1.CauseTypeFieldValueNotFound:     "Not found",
	metav1.CauseTypeFieldValueNotSupported: "Unsupported value",
	metav1.CauseTypeForbidden:              "Forbidden",
	metav1.CauseTypeTooLong:                "Too long",
	metav1.CauseTypeTooMany:                "Too many",
	metav1.CauseTypeTypeInvalid:            "Invalid type",
}

const illegalBase64 = "illegal base64 data"

var webhookName = regexp.MustCompile(`^(?:admission webhook "[^"]*" denied the request|.*?ValidatingAdmissionPolicy '[^']*' with binding '[^']*' denied request|.*?failed calling webhook "[^"]*")`)

func denied(s metav1.Status, _ object.ID, d *diagnosis) bool {
	m := webhookName.FindString(s.Message)
	if m == "" || strings.Contains(m, "failed calling") {
		return false
	}
	d.advice = "change the object so that the policy admits it, or the policy"
	return true
}

func webhookUnreachable(s metav1.Status, _ object.ID, d *diagnosis) bool {
	if !strings.Contains(s.Message, "failed calling webhook") {
		return false
	}
	d.retry = true
	d.advice = "check the Service and pods of the webhook; while it cannot be called nothing that it guards can be written"
	return true
}

// Conflict is a field that another manager owns.
type Conflict struct {
	Manager string
	Path    string // as the API server prints it, such as .spec.replicas
}

var conflictManager = regexp.MustCompile(`conflict with "((?:[^"\\]|\\.)*)"`)

// Conflicts are the fields that a server-side apply without force was refused
// for; nil for every other error.
func Conflicts(err error) []Conflict {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return nil
	}
	return conflicts(status.Status())
}

func conflicts(s metav1.Status) []Conflict {
	var out []Conflict
	for _, cause := range causes(s) {
		if cause.Type != metav1.CauseTypeFieldManagerConflict {
			continue
		}
		c := Conflict{Path: cause.Field}
		if m := conflictManager.FindStringSubmatch(cause.Message); m != nil {
			c.Manager = m[1]
		}
		out = append(out, c)
	}
	return out
}

func managerConflict(s metav1.Status, _ object.ID, d *diagnosis) bool {
	all := conflicts(s)
	if len(all) == 0 {
		return false
	}
	paths := map[string][]string{}
	var managers []string
	for _, c := range all {
		if paths[c.Manager] == nil {
			managers = append(managers, c.Manager)
		}
		paths[c.Manager] = append(paths[c.Manager], c.Path)
	}
	slices.Sort(managers)
	var parts []string
	for _, m := range managers {
		parts = append(parts, fmt.Sprintf("%q owns %s", m, strings.Join(paths[m], ", ")))
	}
	d.message = "field manager " + strings.Join(parts, "; ")
	d.advice = "remove the field from Git or stop the other manager from setting it"
	return true
}

func staleConflict(s metav1.Status, _ object.ID, d *diagnosis) bool {
	if s.Reason != metav1.StatusReasonConflict {
		return false
	}
	d.retry = true // what is observed has changed; the next look is new
	return true
}

func terminating(s metav1.Status, id object.ID, d *diagnosis) bool {
	switch {
	case slices.ContainsFunc(causes(s), func(c metav1.StatusCause) bool { return c.Type == "NamespaceTerminating" }):
		d.advice = "the namespace " + id.Namespace + " is being deleted; see kubectl get namespace " + id.Namespace + " -o yaml for what holds it"
	case strings.Contains(s.Message, "create not allowed while custom resource definition is terminating"):
		d.advice = "the CustomResourceDefinition is being deleted; it can be used again once it was created anew"
	default:
		return false
	}
	d.retry = true
	return true
}

func namespaceMissing(s metav1.Status, id object.ID, d *diagnosis) bool {
	if s.Reason != metav1.StatusReasonNotFound || s.Details == nil {
		return false
	}
	d.retry = true
	if s.Details.Kind == "namespaces" && id.Kind != "Namespace" {
		d.advice = fmt.Sprintf("create the namespace %s, or add it to what is delivered", s.Details.Name)
	}
	return true
}

func quota(s metav1.Status, _ object.ID, d *diagnosis) bool {
	if s.Reason != metav1.StatusReasonForbidden || !strings.Contains(s.Message, "exceeded quota") {
		return false
	}
	d.retry = true
	d.advice = "raise the ResourceQuota or ask for less"
	return true
}

// rbacDenial is how the API server's authorization filter refuses
// (k8s.io/apiserver/pkg/endpoints/handlers/responsewriters).
var rbacDenial = regexp.MustCompile(`User "([^"]*)" cannot (\S+) resource "([^"]*)" in API group "([^"]*)"(?: in the namespace "([^"]*)"| at the cluster scope)`)

func permission(s metav1.Status, _ object.ID, d *diagnosis) bool {
	if s.Reason == metav1.StatusReasonUnauthorized {
		d.retry = true
		d.advice = "the API server does not accept the credentials: renew the token or certificate"
		return true
	}
	if s.Reason != metav1.StatusReasonForbidden {
		return false
	}
	d.retry = true // permissions change without any change of ours
	if m := rbacDenial.FindStringSubmatch(s.Message); m != nil {
		where := "with a ClusterRoleBinding"
		if m[5] != "" && m[3] != "namespaces" {
			where = "with a RoleBinding in namespace " + m[5]
		}
		subject := "user " + m[1]
		if account, ok := strings.CutPrefix(m[1], "system:serviceaccount:"); ok {
			subject = "ServiceAccount " + strings.Replace(account, ":", "/", 1)
		}
		d.advice = fmt.Sprintf("grant %s the rule {apiGroups: [%q], resources: [%q], verbs: [%q]} %s", subject, m[4], m[3], m[2], where)
	} else if strings.Contains(s.Message, "attempting to grant RBAC permissions not currently held") {
		d.advice = "an identity can only hand out permissions that it holds: grant it these, or the verbs escalate and bind"
	}
	return true
}

var (
	undeclaredPath = regexp.MustCompile(`(\.[^\s:,]*): field not declared in schema`)
	unknownField   = regexp.MustCompile(`unknown field \\?"([^"\\]*)\\?"`)
)

// undeclared finds fields that the kind does not have, which the API server
// would drop or refuse.
func undeclared(s metav1.Status, id object.ID, d *diagnosis) bool {
	var paths []string
	for _, m := range undeclaredPath.FindAllStringSubmatch(s.Message, -1) {
		paths = append(paths, strings.TrimPrefix(m[1], "."))
	}
	for _, m := range unknownField.FindAllStringSubmatch(s.Message, -1) {
		paths = append(paths, m[1])
	}
	if len(paths) == 0 {
		return false
	}
	slices.Sort(paths)
	d.advice = fmt.Sprintf("%s has no field %s: correct its name or place, or the apiVersion", id.Kind, strings.Join(slices.Compact(paths), ", "))
	return true
}

var (
	quotedText = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
	// immutableWords are the wordings of the API server's validation
	// (k8s.io/kubernetes/pkg/apis/*/validation), of CEL rules and of webhooks.
	immutableWords = regexp.MustCompile(`(?i)field is immutable|(?:^|[^t]\s)(?:is|are) immutable|immutable fields?\b|immutable after creation|` +
		`updates to .+ (?:is|are) forbidden|pod updates may not (?:change|add)|may not change once set|` +
		`may not be (?:changed|updated|modified)|may not change fields other than|cannot change roleref|` +
		`(?:cannot|can not|can't) be (?:changed|updated|modified) (?:after|once|on update)|node updates may not change`)
)

// unquoted takes the quoted values out of a message, so that none of them can
// be taken for the server's own words.
func unquoted(message string) string { return quotedText.ReplaceAllString(message, `""`) }

// IsImmutable reports whether the server refused to change a field of an
// object that exists, so that only deleting and creating it anew can help.
// Flux takes every Invalid and Conflict answer for that; here only answers
// that say so, since recreating an object for a typing error would lose it.
func IsImmutable(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	s := status.Status()
	return s.Status != metav1.StatusSuccess && saysImmutable(s)
}

func saysImmutable(s metav1.Status) bool {
	switch s.Code {
	case http.StatusUnprocessableEntity, http.StatusForbidden, http.StatusBadRequest:
	default:
		return false // a webhook may refuse with 400 or 403
	}
	if s.Code != http.StatusUnprocessableEntity && webhookName.FindString(s.Message) == "" {
		return false
	}
	if len(causes(s)) == 0 {
		return immutableWords.MatchString(unquoted(s.Message))
	}
	return slices.ContainsFunc(causes(s), func(c metav1.StatusCause) bool {
		return immutableWords.MatchString(unquoted(c.Message))
	}) || (webhookName.FindString(s.Message) != "" && immutableWords.MatchString(unquoted(s.Message)))
}

func immutable(s metav1.Status, _ object.ID, d *diagnosis) bool {
	if !saysImmutable(s) {
		return false
	}
	d.advice = "the field cannot be changed in place: undo the change, or allow the object to be deleted and created anew (force)"
	return true
}

func tooLarge(s metav1.Status, _ object.ID, d *diagnosis) bool {
	if s.Reason != metav1.StatusReasonRequestEntityTooLarge && s.Code != http.StatusRequestEntityTooLarge &&
		!strings.Contains(s.Message, "request is too large") && !strings.Contains(s.Message, "must have at most 1048576 bytes") &&
		!strings.Contains(s.Message, "may not be more than 1048576 bytes") {
		return false
	}
	d.advice = "the object is larger than the cluster stores: split it"
	return true
}

func invalid(s metav1.Status, _ object.ID, d *diagnosis) bool {
	unreadable := strings.HasPrefix(s.Message, "failed to create typed patch object") || strings.HasPrefix(s.Message, "failed to convert new object") ||
		strings.Contains(s.Message, "unable to convert unstructured object")
	if s.Reason != metav1.StatusReasonInvalid && s.Reason != metav1.StatusReasonBadRequest && !unreadable {
		return false // those come as 500 without a reason
	}
	if strings.Contains(s.Message, illegalBase64) {
		d.advice = "encode the values under data, or move them to stringData"
		return true
	}
	var fields []string
	for _, cause := range causes(s) {
		if cause.Field != "" && cause.Field != "<nil>" {
			fields = append(fields, cause.Field)
		}
	}
	if len(fields) > 0 {
		slices.Sort(fields)
		d.advice = "correct " + strings.Join(slices.Compact(fields), ", ")
	} else {
		d.advice = "correct the manifest"
	}
	return true
}

// overload is every answer that may be different next time.
func overload(s metav1.Status, _ object.ID, d *diagnosis) bool {
	d.retry = s.Code >= 500 || s.Code == http.StatusTooManyRequests || s.Code == http.StatusRequestTimeout
	if s.Code == http.StatusTooManyRequests {
		d.advice = "the API server limits its clients: see its priority and fairness settings"
	}
	return d.retry
}
