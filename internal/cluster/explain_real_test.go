package cluster

import (
	"fmt"
	"strings"
	"testing"

	"plumb.dev/plumb/internal/model"
	"plumb.dev/plumb/internal/object"
)

// canary stands where a secret value may stand.
const canary = "c4n4ry-value"

// TestExplainWhatARealServerSays provokes the API server's refusals and checks
// what people get to read. "setup" objects are applied first, then "apply"
// must fail.
func TestExplainWhatARealServerSays(t *testing.T) {
	c := realSet(t, Options{}).Local()
	ns := newNamespace(t, c)
	self := c.As(model.Identity{})

	cases := []struct {
		name      string
		setup     []string // manager|object
		apply     string   // manager|object
		as        string   // service account
		message   []string // all contained
		advice    string   // contained
		retry     bool
		immutable bool
	}{
		{
			name:    "permission",
			apply:   `m|{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","namespace":"NS"}}`,
			as:      "nobody",
			message: []string{`ConfigMap/NS/x apply failed (Forbidden): configmaps "x" is forbidden: User "system:serviceaccount:NS:nobody" cannot patch resource "configmaps"`},
			advice:  `grant ServiceAccount NS/nobody the rule {apiGroups: [""], resources: ["configmaps"], verbs: ["patch"]} with a RoleBinding in namespace NS`,
			retry:   true,
		},
		{
			name:    "permission at the cluster scope",
			apply:   `m|{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"x"}}`,
			as:      "nobody",
			message: []string{`(Forbidden)`},
			advice:  `{apiGroups: [""], resources: ["namespaces"], verbs: ["patch"]} with a ClusterRoleBinding`,
			retry:   true,
		},
		{
			name:    "namespace that does not exist",
			apply:   `m|{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","namespace":"nowhere"}}`,
			message: []string{`(NotFound): namespaces "nowhere" not found`},
			advice:  "create the namespace nowhere",
			retry:   true,
		},
		{
			name:    "field that does not exist",
			apply:   `m|{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"x","namespace":"NS"},"spec":{"replica":1,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}`,
			message: []string{`.spec.replica: field not declared in schema`},
			advice:  `Deployment has no field spec.replica:`,
		},
		{
			name:    "value of the wrong type",
			apply:   `m|{"apiVersion":"v1","kind":"Service","metadata":{"name":"x","namespace":"NS"},"spec":{"ports":[{"port":"eighty"}]}}`,
			message: []string{`failed to create typed patch object`},
			advice:  "correct the manifest",
		},
		{
			name:    "value that validation refuses",
			apply:   `m|{"apiVersion":"v1","kind":"Service","metadata":{"name":"x","namespace":"NS"},"spec":{"ports":[{"port":99999}]}}`,
			message: []string{`(Invalid)`, `spec.ports[0].port: Invalid value: 99999`},
			advice:  "correct spec.ports[0].port",
		},
		{
			name:    "field of another manager",
			setup:   []string{`other|{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"owned","namespace":"NS"},"data":{"a":"1","b":"1"}}`},
			apply:   `unforced|{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"owned","namespace":"NS"},"data":{"a":"2","b":"2"}}`,
			message: []string{`(FieldManagerConflict): field manager "other" owns .data.a, .data.b`},
			advice:  "stop the other manager",
		},
		{
			name:      "Deployment selector",
			setup:     []string{`m|` + fmt.Sprintf(deployment, "web", "NS")},
			apply:     `m|` + strings.ReplaceAll(fmt.Sprintf(deployment, "web", "NS"), `"app":"web"`, `"app":"other"`),
			message:   []string{"field is immutable"},
			advice:    "force",
			immutable: true,
		},
		{
			name:      "StatefulSet pod management",
			setup:     []string{`m|{"apiVersion":"apps/v1","kind":"StatefulSet","metadata":{"name":"x","namespace":"NS"},"spec":{"podManagementPolicy":"Parallel","replicas":0,"serviceName":"a","selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}`},
			apply:     `m|{"apiVersion":"apps/v1","kind":"StatefulSet","metadata":{"name":"x","namespace":"NS"},"spec":{"podManagementPolicy":"OrderedReady","replicas":0,"serviceName":"a","selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}`,
			advice:    "force",
			immutable: true,
		},
		{
			name:      "Job template",
			setup:     []string{`m|{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"x","namespace":"NS"},"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}}}`},
			apply:     `m|{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"x","namespace":"NS"},"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"j"}]}}}}`,
			advice:    "force",
			immutable: true,
		},
		{
			name:      "Pod",
			setup:     []string{`m|{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x","namespace":"NS"},"spec":{"containers":[{"name":"c","image":"i","env":[{"name":"A","value":"1"}]}]}}`},
			apply:     `m|{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x","namespace":"NS"},"spec":{"containers":[{"name":"c","image":"i","env":[{"name":"A","value":"2"}]}]}}`,
			advice:    "force",
			immutable: true,
		},
		{
			name:      "Service address",
			setup:     []string{`m|{"apiVersion":"v1","kind":"Service","metadata":{"name":"headless","namespace":"NS"},"spec":{"ports":[{"port":80}]}}`},
			apply:     `m|{"apiVersion":"v1","kind":"Service","metadata":{"name":"headless","namespace":"NS"},"spec":{"clusterIP":"None","clusterIPs":["None"],"ports":[{"port":80}]}}`,
			message:   []string{"may not change once set"},
			advice:    "force",
			immutable: true,
		},
		{
			name:      "RoleBinding reference",
			setup:     []string{`m|{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"RoleBinding","metadata":{"name":"x","namespace":"NS"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"a"}}`},
			apply:     `m|{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"RoleBinding","metadata":{"name":"x","namespace":"NS"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"b"}}`,
			advice:    "force",
			immutable: true,
		},
		{
			name:      "StorageClass parameters",
			setup:     []string{`m|{"apiVersion":"storage.k8s.io/v1","kind":"StorageClass","metadata":{"name":"NS"},"provisioner":"example.com/a","parameters":{"a":"b"}}`},
			apply:     `m|{"apiVersion":"storage.k8s.io/v1","kind":"StorageClass","metadata":{"name":"NS"},"provisioner":"example.com/b","parameters":{"a":"c"}}`,
			advice:    "force",
			immutable: true,
		},
		{
			name:      "claim",
			setup:     []string{`m|{"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"name":"x","namespace":"NS"},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}}`},
			apply:     `m|{"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"name":"x","namespace":"NS"},"spec":{"accessModes":["ReadWriteMany"],"resources":{"requests":{"storage":"1Gi"}}}}`,
			message:   []string{"immutable after creation"},
			advice:    "force",
			immutable: true,
		},
		{
			name:      "PriorityClass value",
			setup:     []string{`m|{"apiVersion":"scheduling.k8s.io/v1","kind":"PriorityClass","metadata":{"name":"NS"},"value":1}`},
			apply:     `m|{"apiVersion":"scheduling.k8s.io/v1","kind":"PriorityClass","metadata":{"name":"NS"},"value":2}`,
			advice:    "force",
			immutable: true,
		},
		{
			name:      "Secret that is immutable",
			setup:     []string{`m|{"apiVersion":"v1","kind":"Secret","metadata":{"name":"fixed","namespace":"NS"},"immutable":true,"stringData":{"password":"` + canary + `"}}`},
			apply:     `m|{"apiVersion":"v1","kind":"Secret","metadata":{"name":"fixed","namespace":"NS"},"immutable":true,"stringData":{"password":"` + canary + `2"}}`,
			message:   []string{"data: Forbidden: field is immutable", "values are withheld"},
			advice:    "force",
			immutable: true,
		},
		{
			name:      "Secret type",
			setup:     []string{`m|{"apiVersion":"v1","kind":"Secret","metadata":{"name":"typed","namespace":"NS"},"type":"Opaque"}`},
			apply:     `m|{"apiVersion":"v1","kind":"Secret","metadata":{"name":"typed","namespace":"NS"},"type":"` + canary + `"}`,
			message:   []string{"type: Invalid value: field is immutable", "values are withheld"},
			advice:    "force",
			immutable: true,
		},
		{
			name:    "Secret whose value is no base64",
			apply:   `m|{"apiVersion":"v1","kind":"Secret","metadata":{"name":"x","namespace":"NS"},"data":{"password":"` + canary + `!"}}`,
			message: []string{"a value under data is not base64"},
			advice:  "stringData",
		},
		{
			name:    "Secret whose key is wrong",
			apply:   `m|{"apiVersion":"v1","kind":"Secret","metadata":{"name":"x","namespace":"NS"},"stringData":{"pass word":"` + canary + `"}}`,
			message: []string{"Invalid value"},
			advice:  "correct",
		},
		{
			name:    "Secret of a type that asks for more",
			apply:   `m|{"apiVersion":"v1","kind":"Secret","metadata":{"name":"x","namespace":"NS"},"type":"kubernetes.io/dockerconfigjson","stringData":{".dockerconfigjson":"` + canary + `"}}`,
			message: []string{"data[.dockerconfigjson]: Invalid value"},
			advice:  "correct data[.dockerconfigjson]",
		},
		{
			name:    "Secret with a wrong field",
			apply:   `m|{"apiVersion":"v1","kind":"Secret","metadata":{"name":"x","namespace":"NS"},"datum":{"password":"` + canary + `"}}`,
			message: []string{".datum: field not declared in schema"},
			advice:  "Secret has no field datum",
		},
		{
			name:    "object that is too large",
			apply:   `m|{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"large","namespace":"NS"},"data":{"a":"` + strings.Repeat("x", 1<<20+1) + `"}}`,
			message: []string{"Too long"},
			advice:  "split it",
		},
		{
			name:    "request that is too large",
			apply:   `m|{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"large","namespace":"NS"},"data":{"a":"` + strings.Repeat("x", 4<<20) + `"}}`,
			message: []string{"(RequestEntityTooLarge)"},
			advice:  "split it",
		},
		{
			name:    "permissions that one does not hold",
			setup:   []string{`m|{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","metadata":{"name":"roles","namespace":"NS"},"rules":[{"apiGroups":["rbac.authorization.k8s.io"],"resources":["roles"],"verbs":["get","create","patch"]}]}`, `m|{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"RoleBinding","metadata":{"name":"roles","namespace":"NS"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"roles"},"subjects":[{"kind":"ServiceAccount","name":"roles","namespace":"NS"}]}`},
			apply:   `m|{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","metadata":{"name":"more","namespace":"NS"},"rules":[{"apiGroups":[""],"resources":["secrets"],"verbs":["get"]}]}`,
			as:      "roles",
			message: []string{"attempting to grant RBAC permissions"},
			advice:  "escalate",
			retry:   true,
		},
		{
			name: "policy",
			setup: []string{
				`m|{"apiVersion":"admissionregistration.k8s.io/v1","kind":"ValidatingWebhookConfiguration","metadata":{"name":"NS"},"webhooks":[{"name":"unreachable.example.com","admissionReviewVersions":["v1"],"sideEffects":"None","timeoutSeconds":1,"clientConfig":{"url":"https://127.0.0.1:1/x"},"rules":[{"apiGroups":["batch"],"apiVersions":["v1"],"operations":["CREATE"],"resources":["cronjobs"]}]}]}`,
			},
			apply:   `m|{"apiVersion":"batch/v1","kind":"CronJob","metadata":{"name":"x","namespace":"NS"},"spec":{"schedule":"* * * * *","jobTemplate":{"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}}}}}`,
			message: []string{`failed calling webhook "unreachable.example.com"`},
			advice:  "check the Service and pods of the webhook",
			retry:   true,
		},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			ctx := testContext(t)
			apply := func(s *Session, spec string, force bool) (object.ID, error) {
				manager, body, _ := strings.Cut(strings.ReplaceAll(spec, "NS", ns), "|")
				o := fromJSON(t, body)
				kind, err := c.Resolve(ctx, o.GroupVersionKind())
				if err != nil {
					t.Fatal(err)
				}
				_, err = s.Apply(ctx, kind, []byte(body), ApplyOptions{Manager: manager, Force: force})
				return object.Of(o), err
			}
			for _, spec := range tc.setup {
				if _, err := apply(self, spec, true); err != nil {
					t.Fatal(err)
				}
			}
			s := self
			if tc.as != "" {
				s = c.As(model.Identity{Namespace: ns, ServiceAccount: tc.as})
			}
			id, err := apply(s, tc.apply, !strings.HasPrefix(tc.apply, "unforced"))
			for tc.setup != nil && tc.as != "" && err != nil && rbacDenial.MatchString(err.Error()) && ctx.Err() == nil {
				// The authorizer learns of roles by a watch of its own.
				id, err = apply(s, tc.apply, true)
			}
			if err == nil {
				t.Fatal("it was admitted")
			}
			f := Explain(err, "apply", id, model.Origin{})

			for _, want := range tc.message {
				if !strings.Contains(f.Message, strings.ReplaceAll(want, "NS", ns)) {
					t.Errorf("message %q\nlacks %q", f.Message, want)
				}
			}
			if !strings.Contains(f.Advice, strings.ReplaceAll(tc.advice, "NS", ns)) {
				t.Errorf("advice %q\nlacks %q\nmessage %s", f.Advice, tc.advice, f.Message)
			}
			if f.Retry != tc.retry {
				t.Errorf("retry %t: %s", f.Retry, f.Message)
			}
			if IsImmutable(err) != tc.immutable {
				t.Errorf("immutable %t: %s", IsImmutable(err), f.Message)
			}
			if id.Kind == "Secret" && strings.Contains(f.Error(), canary) {
				t.Errorf("a secret value is repeated: %s", f.Error())
			}
			if len(f.Message) > maxMessage+200 {
				t.Errorf("the message has %d bytes", len(f.Message))
			}
		})
	}
}
