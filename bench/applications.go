package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"plumb.dev/plumb/scenario/stage"
)

// Names of the applications, of their objects and of the links of the chain.
func appName(i int) string    { return fmt.Sprintf("app-%04d", i) }
func markerName(i int) string { return appName(i) + "-cm-a" }
func linkName(i int) string   { return fmt.Sprintf("chain-%02d", i) }

// targetNamespace is where the applications' objects go.
const targetNamespace = "bench"

// padding makes the second ConfigMap as large as a small settings file.
const padding = 64

// layout writes N applications and a chain into the work tree of a repository.
func layout(repo *stage.Repository, n, links int) error {
	for i := 1; i <= n; i++ {
		files := application(appName(i), targetNamespace)
		files["cm-a.yaml"] = marker(i, "first")
		var list strings.Builder
		for _, name := range applicationFiles {
			fmt.Fprintf(&list, "- %s\n", name)
		}
		files["kustomization.yaml"] = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nnamespace: " + targetNamespace + "\nresources:\n" + list.String()
		if err := write(filepath.Join(repo.Dir(), "apps", appName(i)), files); err != nil {
			return err
		}
	}
	for i := 1; i <= links; i++ {
		err := write(filepath.Join(repo.Dir(), "chain", linkName(i)), map[string]string{
			"kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nnamespace: " + targetNamespace + "\nresources:\n- cm.yaml\n",
			"cm.yaml":            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: " + linkName(i) + "\ndata:\n  a: b\n",
		})
		if err != nil {
			return err
		}
	}
	_, err := repo.Commit("the first revision")
	return err
}

func write(dir string, files map[string]string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// commit sets the marker of some applications, pushes, and returns the commit.
func commit(repo *stage.Repository, apps []int, value string) (string, error) {
	for _, i := range apps {
		file := filepath.Join(repo.Dir(), "apps", appName(i), "cm-a.yaml")
		if err := os.WriteFile(file, []byte(marker(i, value)), 0o644); err != nil {
			return "", err
		}
	}
	return repo.Commit("set " + value)
}

// marker is the ConfigMap that a commit changes and that is watched.
func marker(i int, value string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: ConfigMap
metadata:
  name: %s
  labels:
    bench/app: %s
    bench/marker: "true"
data:
  value: %q
`, markerName(i), appName(i), value)
}

var applicationFiles = []string{"cm-a.yaml", "cm-b.yaml", "service.yaml", "serviceaccount.yaml", "deployment.yaml"}

// application is everything of an application but its marker.
func application(name, namespace string) map[string]string {
	fill := strings.NewReplacer("NAME", name, "NAMESPACE", namespace, "PADDING", strings.Repeat("x", padding)).Replace
	return map[string]string{
		"cm-b.yaml": fill(`apiVersion: v1
kind: ConfigMap
metadata:
  name: NAME-cm-b
  labels:
    bench/app: NAME
data:
  settings.ini: |
    [server]
    name = NAME
    padding = PADDING
`),
		"service.yaml": fill(`apiVersion: v1
kind: Service
metadata:
  name: NAME
  labels:
    bench/app: NAME
spec:
  clusterIP: None
  selector:
    app: NAME
  ports:
    - name: http
      port: 80
      targetPort: 8080
      protocol: TCP
`),
		"serviceaccount.yaml": fill(`apiVersion: v1
kind: ServiceAccount
metadata:
  name: NAME
  labels:
    bench/app: NAME
automountServiceAccountToken: false
`),
		"deployment.yaml": fill(`apiVersion: apps/v1
kind: Deployment
metadata:
  name: NAME
  labels:
    bench/app: NAME
spec:
  replicas: 0
  selector:
    matchLabels:
      app: NAME
  template:
    metadata:
      labels:
        app: NAME
    spec:
      serviceAccountName: NAME
      containers:
        - name: main
          image: registry.example.invalid/app:1.0
          ports:
            - containerPort: 8080
              protocol: TCP
          envFrom:
            - configMapRef:
                name: NAME-cm-a
          resources:
            requests:
              cpu: 10m
              memory: 16Mi
`),
	}
}
