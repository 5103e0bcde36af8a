package object

import (
	"bytes"
	"encoding/json"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/typed"
)

// benchLive is a Deployment as an API server gives it to watchers.
const benchLive = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: default
  uid: 6f3f8a0e-6d0a-4c55-8f0d-0b3f2c9d9d51
  resourceVersion: "123456"
  generation: 3
  creationTimestamp: "2025-01-01T00:00:00Z"
  annotations: {deployment.kubernetes.io/revision: "1"}
  labels: {app.kubernetes.io/name: web, app.kubernetes.io/part-of: shop, kustomize.toolkit.fluxcd.io/name: shop, kustomize.toolkit.fluxcd.io/namespace: flux-system}
  managedFields:
  - manager: kustomize-controller
    operation: Apply
    apiVersion: apps/v1
    time: "2025-01-01T00:00:00Z"
    fieldsType: FieldsV1
    fieldsV1:
      f:metadata: {f:labels: {f:app.kubernetes.io/name: {}, f:app.kubernetes.io/part-of: {}, f:kustomize.toolkit.fluxcd.io/name: {}, f:kustomize.toolkit.fluxcd.io/namespace: {}}}
      f:spec:
        f:replicas: {}
        f:selector: {}
        f:template:
          f:metadata: {f:labels: {f:app: {}, f:tier: {}}, f:annotations: {f:checksum: {}}}
          f:spec:
            f:serviceAccountName: {}
            f:volumes:
              k:{"name":"config"}: {".": {}, f:name: {}, f:configMap: {f:name: {}}}
            f:containers:
              k:{"name":"main"}:
                .: {}
                f:name: {}
                f:image: {}
                f:args: {}
                f:env:
                  k:{"name":"A"}: {".": {}, f:name: {}, f:value: {}}
                  k:{"name":"B"}: {".": {}, f:name: {}, f:value: {}}
                  k:{"name":"C"}: {".": {}, f:name: {}, f:valueFrom: {f:secretKeyRef: {}}}
                f:ports:
                  k:{"containerPort":8080,"protocol":"TCP"}: {".": {}, f:containerPort: {}, f:name: {}, f:protocol: {}}
                f:resources: {f:limits: {f:cpu: {}, f:memory: {}}, f:requests: {f:cpu: {}, f:memory: {}}}
                f:readinessProbe: {f:httpGet: {f:path: {}, f:port: {}}}
                f:volumeMounts:
                  k:{"mountPath":"/config"}: {".": {}, f:mountPath: {}, f:name: {}}
  - manager: kube-controller-manager
    operation: Update
    apiVersion: apps/v1
    subresource: status
    fieldsType: FieldsV1
    fieldsV1: {f:metadata: {f:annotations: {".": {}, f:deployment.kubernetes.io/revision: {}}}, f:status: {f:replicas: {}}}
spec:
  replicas: 3
  progressDeadlineSeconds: 600
  revisionHistoryLimit: 10
  strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 25%, maxUnavailable: 25%}}
  selector: {matchLabels: {app: web, tier: front}}
  template:
    metadata: {labels: {app: web, tier: front}, annotations: {checksum: 0123456789abcdef}}
    spec:
      serviceAccountName: web
      serviceAccount: web
      restartPolicy: Always
      dnsPolicy: ClusterFirst
      schedulerName: default-scheduler
      terminationGracePeriodSeconds: 30
      securityContext: {}
      volumes: [{name: config, configMap: {name: web, defaultMode: 420}}]
      containers:
      - name: main
        image: registry.example.com/shop/web:1.2.3
        imagePullPolicy: IfNotPresent
        terminationMessagePath: /dev/termination-log
        terminationMessagePolicy: File
        args: [--listen, ":8080", --verbose]
        env:
        - {name: A, value: one}
        - {name: B, value: two}
        - {name: C, valueFrom: {secretKeyRef: {name: s, key: k}}}
        ports: [{containerPort: 8080, name: http, protocol: TCP}]
        resources: {limits: {cpu: "1", memory: 512Mi}, requests: {cpu: 100m, memory: 128Mi}}
        readinessProbe: {failureThreshold: 3, periodSeconds: 10, successThreshold: 1, timeoutSeconds: 1, httpGet: {path: /, port: 8080, scheme: HTTP}}
        volumeMounts: [{mountPath: /config, name: config}]
status: {replicas: 3, readyReplicas: 3, observedGeneration: 3}
`

// BenchmarkJudge is what each watch event of a managed object costs.
func BenchmarkJudge(b *testing.B) {
	o := decodeOne(b, benchLive)
	key := []byte("0123456789abcdef0123456789abcdef")
	b.ReportAllocs()
	for b.Loop() {
		paths, ok := Owned(o, "kustomize-controller")
		if !ok {
			b.Fatal("not owned")
		}
		_ = paths.Digest()
		_ = Keyed(key, paths.Cut(o))
	}
}

func BenchmarkCut(b *testing.B) {
	o := decodeOne(b, benchLive)
	paths, _ := Owned(o, "kustomize-controller")
	b.ReportAllocs()
	for b.Loop() {
		_ = paths.Cut(o)
	}
}

// BenchmarkCutByStructuredMergeDiff is the same question answered with the
// library that the API server uses, as a measure.
func BenchmarkCutByStructuredMergeDiff(b *testing.B) {
	o := decodeOne(b, benchLive)
	paths, _ := Owned(o, "kustomize-controller")
	b.ReportAllocs()
	for b.Loop() {
		encoded, err := json.Marshal(paths.tree)
		if err != nil {
			b.Fatal(err)
		}
		var set fieldpath.Set
		if err := set.FromJSON(bytes.NewReader(encoded)); err != nil {
			b.Fatal(err)
		}
		value, err := typed.DeducedParseableType.FromUnstructured(o.Object)
		if err != nil {
			b.Fatal(err)
		}
		cut, _ := value.ExtractItems(&set).AsValue().Unstructured().(map[string]any)
		if _, err := Canonical(cut); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCanonical(b *testing.B) {
	o := decodeOne(b, benchLive)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Canonical(o.Object); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCanonicalByEncodingJSON(b *testing.B) {
	o := decodeOne(b, benchLive)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := json.Marshal(o.Object); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	data := []byte(benchLive)
	b.ReportAllocs()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := Decode(data, "web.yaml", Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLeaves(b *testing.B) {
	o := decodeOne(b, benchLive)
	want := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "spec": o.Object["spec"]}}
	b.ReportAllocs()
	for b.Loop() {
		_ = Leaves(want)
	}
}
