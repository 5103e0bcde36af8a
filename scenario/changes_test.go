package scenario

import (
	"fmt"
	"strings"
)

// changes are what TestCrashPoints plays. Together they have every kind of
// write that the engine makes.
var changes = []change{
	{
		name:     "first",
		declared: kustomization("app", "./app", ""),
		before:   map[string]string{"README.md": "nothing yet"},
		settled:  map[string]string{"kustomization/app": "failed ArtifactFailed"},
		after: map[string]string{
			"app/account.yaml": "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: web\n",
			"app/config.yaml":  configMap("config", "hello"),
			"app/secret.yaml":  "apiVersion: v1\nkind: Secret\nmetadata:\n  name: token\nstringData:\n  token: not-much-of-a-secret\n",
			"app/web.yaml":     deployment("web", "1.0", ""),
		},
		done: map[string]string{"kustomization/app": "ready at $HEAD", "configmap/config": "exists", "deployment/web": "exists"},
	},
	{
		name:     "change",
		declared: kustomization("app", "./", ""),
		before: map[string]string{
			"changed.yaml": configMap("changed", "hello"), "kept.yaml": configMap("kept", "hello"),
			"gone.yaml": configMap("gone", "hello"), "gone-too.yaml": configMap("gone-too", "hello"),
		},
		settled: map[string]string{"kustomization/app": "ready at $HEAD"},
		after: map[string]string{
			"changed.yaml": configMap("changed", "welcome"), "kept.yaml": configMap("kept", "hello"),
			"new.yaml": configMap("new", "hello"),
		},
		done: map[string]string{"kustomization/app": "ready at $HEAD", "configmap/gone": "gone", "configmap/gone-too": "gone"},
	},
	{
		name:     "move",
		declared: kustomization("one", "./one", "") + "---\n" + kustomization("two", "./two", ""),
		before: map[string]string{
			"one/one.yaml": configMap("one", "hello"), "one/mover.yaml": configMap("mover", "hello"), "two/two.yaml": configMap("two", "hello"),
		},
		settled: map[string]string{"kustomization/one": "ready at $HEAD", "kustomization/two": "ready at $HEAD"},
		after: map[string]string{
			"one/one.yaml": configMap("one", "hello"), "two/mover.yaml": configMap("mover", "hello"), "two/two.yaml": configMap("two", "welcome"),
		},
		done: map[string]string{"kustomization/one": "ready at $HEAD", "kustomization/two": "ready at $HEAD"},
	},
	{
		name:     "rename",
		declared: kustomization("root", "./clusters", ""),
		before:   map[string]string{"clusters/app.yaml": kustomization("old", "./app", ""), "app/config.yaml": configMap("config", "hello")},
		settled:  map[string]string{"kustomization/root": "ready at $HEAD", "kustomization/old": "ready at $HEAD"},
		after:    map[string]string{"clusters/app.yaml": kustomization("new", "./app", ""), "app/config.yaml": configMap("config", "hello")},
		done:     map[string]string{"kustomization/root": "ready at $HEAD", "kustomization/new": "ready at $HEAD", "kustomization/old": "gone"},
	},
	{
		name:     "remove",
		declared: kustomization("app", "./", "") + "---\n" + kustomization("other", "./", "  namePrefix: other-\n"),
		before:   map[string]string{"one.yaml": configMap("one", "hello"), "two.yaml": configMap("two", "hello")},
		settled:  map[string]string{"kustomization/app": "ready at $HEAD", "kustomization/other": "ready at $HEAD"},
		remove:   []string{"kustomization/app"},
		done:     map[string]string{"kustomization/app": "gone", "configmap/one": "gone", "configmap/two": "gone"},
	},
	{
		name:     "stages",
		declared: kustomization("app", "./", ""),
		before:   map[string]string{"config.yaml": configMap("config", "hello")},
		settled:  map[string]string{"kustomization/app": "ready at $HEAD"},
		after: map[string]string{
			"config.yaml": configMap("config", "hello"),
			"crd.yaml":    widgets,
			"widget.yaml": "apiVersion: $NS.example.com/v1\nkind: Widget\nmetadata:\n  name: small\nspec:\n  size: 1\n",
		},
		done: map[string]string{"kustomization/app": "ready at $HEAD", "widgets.$NS.example.com/small": "exists"},
	},
	{
		name:      "recreate",
		declared:  kustomization("app", "./", "  force: true\n"),
		before:    map[string]string{"config.yaml": configMap("config", "hello"), "web.yaml": deployment("web", "1.0", "")},
		settled:   map[string]string{"kustomization/app": "ready at $HEAD"},
		after:     map[string]string{"config.yaml": configMap("config", "hello"), "web.yaml": deployment("web", "1.0", "-new")},
		done:      map[string]string{"kustomization/app": "ready at $HEAD", "deployment/web": ".spec.selector.matchLabels.app=web-new"},
		recreated: []string{"deployment/web"},
	},
	{
		name:     "argo-sync",
		declared: application("app", ".", ""),
		before: map[string]string{
			"before.yaml": hookJob("before", "PreSync", "HookSucceeded"), "config.yaml": configMap("config", "hello"),
			"after.yaml": annotated(configMap("after", "hello"), "argocd.argoproj.io/hook: PostSync"),
		},
		settled: map[string]string{"application/app": "synced healthy at $HEAD phase Succeeded", "job/before": "gone"},
		after: map[string]string{
			"before.yaml": hookJob("before", "PreSync", "HookSucceeded"), "config.yaml": configMap("config", "welcome"),
			"web.yaml":   annotated(deployment("web", "1.0", ""), `argocd.argoproj.io/sync-wave: "1"`),
			"last.yaml":  annotated(configMap("last", "hello"), `argocd.argoproj.io/sync-wave: "2"`),
			"after.yaml": annotated(configMap("after", "hello"), "argocd.argoproj.io/hook: PostSync"),
		},
		done: map[string]string{
			"application/app": "synced healthy at $HEAD phase Succeeded .status.operationState.syncResult.revision=$HEAD .status.history[1].revision=$HEAD .status.history[*].id~^0.1$",
			"configmap/last":  "exists", "configmap/after": "exists", "job/before": "gone",
		},
		recreated: []string{"configmap/after"},
	},
	{
		name:     "argo-prune",
		declared: application("app", ".", ""),
		before: map[string]string{
			"changed.yaml": configMap("changed", "hello"), "kept.yaml": configMap("kept", "hello"),
			"gone.yaml": configMap("gone", "hello"), "gone-too.yaml": annotated(configMap("gone-too", "hello"), `argocd.argoproj.io/sync-wave: "1"`),
		},
		settled: map[string]string{"application/app": "synced healthy at $HEAD"},
		after: map[string]string{
			"changed.yaml": configMap("changed", "welcome"), "kept.yaml": configMap("kept", "hello"), "new.yaml": configMap("new", "hello"),
		},
		done: map[string]string{"application/app": "synced healthy at $HEAD", "configmap/gone": "gone", "configmap/gone-too": "gone", "configmap/new": "exists"},
	},
	{
		name:     "argo-move",
		declared: application("one", "one", "") + "---\n" + application("two", "two", ""),
		before: map[string]string{
			"one/one.yaml": configMap("one", "hello"), "one/mover.yaml": configMap("mover", "hello"), "two/two.yaml": configMap("two", "hello"),
		},
		settled: map[string]string{"application/one": "synced healthy at $HEAD", "application/two": "synced healthy at $HEAD"},
		after: map[string]string{
			"one/one.yaml": configMap("one", "hello"), "two/mover.yaml": configMap("mover", "hello"), "two/two.yaml": configMap("two", "welcome"),
		},
		done: map[string]string{"application/one": "synced healthy at $HEAD", "application/two": "synced healthy at $HEAD", "configmap/two": ".data.text=welcome"},
	},
	{
		name:     "argo-root",
		declared: application("root", "apps", cascading),
		before: map[string]string{
			"apps/one.yaml": application("one", "one", cascading), "apps/two.yaml": application("two", "two", cascading),
			"one/one.yaml": configMap("one", "hello"), "two/two.yaml": configMap("two", "hello"),
		},
		settled: map[string]string{
			"application/root": "synced healthy at $HEAD", "application/one": "synced healthy at $HEAD", "application/two": "synced healthy at $HEAD",
		},
		remove: []string{"application/root"},
		done: map[string]string{
			"application/root": "gone", "application/one": "gone", "application/two": "gone", "configmap/one": "gone", "configmap/two": "gone",
		},
	},
	{
		name:     "helm-install",
		declared: helmRelease("web", ""),
		before:   map[string]string{"README.md": "nothing yet"},
		settled:  map[string]string{"helmrelease/web": "failed SourceNotReady"},
		after: chart("1.0.0", map[string]string{
			"crds/widgets.yaml": widgets, "templates/widget.yaml": "apiVersion: $NS.example.com/v1\nkind: Widget\nmetadata:\n  name: small\n",
			"templates/config.yaml": configMap("config", "hello"), "templates/web.yaml": deployment("web", "1.0", ""),
			"templates/before.yaml": helmJob("before", "pre-install", "succeed"), "templates/after.yaml": annotated(configMap("after", "hello"), "helm.sh/hook: post-install"),
		}),
		done: map[string]string{
			"helmrelease/web": "ready .status.history[*].version~^1$ .status.history[0].status=deployed", "job/before": "gone",
			"configmap/after": "exists", "secret/sh.helm.release.v1.web.v1": ".metadata.labels.status=deployed",
		},
	},
	{
		name:     "helm-upgrade",
		declared: helmRelease("web", ""),
		before: chart("1.0.0", map[string]string{
			"templates/changed.yaml": configMap("changed", "hello"), "templates/kept.yaml": configMap("kept", "hello"),
			"templates/gone.yaml": configMap("gone", "hello"), "templates/gone-too.yaml": configMap("gone-too", "hello"),
		}),
		settled: map[string]string{"helmrelease/web": "ready"},
		after: chart("1.1.0", map[string]string{
			"templates/changed.yaml": configMap("changed", "welcome"), "templates/kept.yaml": configMap("kept", "hello"), "templates/new.yaml": configMap("new", "hello"),
			"templates/before.yaml": helmJob("before", "pre-upgrade", "succeed"), "templates/after.yaml": annotated(configMap("after", "hello"), "helm.sh/hook: post-upgrade"),
		}),
		done: map[string]string{
			"helmrelease/web": "ready .status.history[0].version=2 .status.history[0].status=deployed .status.history[1].status=superseded",
			"configmap/gone":  "gone", "configmap/gone-too": "gone", "configmap/new": "exists", "job/before": "gone", "configmap/after": "exists",
		},
	},
	{
		name:     "helm-rollback",
		declared: helmRelease("web", "  upgrade:\n    remediation:\n      remediateLastFailure: true\n"),
		before: chart("1.0.0", map[string]string{
			"templates/changed.yaml": configMap("changed", "hello"), "templates/gone.yaml": configMap("gone", "hello"),
			"templates/back.yaml": annotated(configMap("back", "hello"), "helm.sh/hook: pre-rollback"),
		}),
		settled: map[string]string{"helmrelease/web": "ready"},
		after: chart("1.1.0", map[string]string{
			"templates/changed.yaml": configMap("changed", "welcome"), "templates/new.yaml": configMap("new", "hello"),
			"templates/after.yaml": helmJob("after", "post-upgrade", "fail"),
		}),
		done: map[string]string{
			"helmrelease/web":   "failed RollbackSucceeded Stalled=True .status.upgradeFailures=1 .status.history[0].version=3 .status.history[0].status=deployed",
			"configmap/changed": ".data.text=hello", "configmap/gone": "exists", "configmap/new": "gone", "job/after": "gone", "configmap/back": "exists",
		},
		recreated: []string{"configmap/gone"},
	},
	{
		name:     "helm-uninstall",
		declared: helmRelease("web", ""),
		before: chart("1.0.0", map[string]string{
			"templates/one.yaml": configMap("one", "hello"), "templates/two.yaml": configMap("two", "hello"),
			"templates/kept.yaml":   annotated(configMap("kept", "hello"), "helm.sh/resource-policy: keep"),
			"templates/before.yaml": helmJob("before", "pre-delete", "succeed"), "templates/after.yaml": annotated(configMap("after", "hello"), "helm.sh/hook: post-delete"),
		}),
		settled: map[string]string{"helmrelease/web": "ready"},
		remove:  []string{"helmrelease/web"},
		done: map[string]string{
			"helmrelease/web": "gone", "configmap/one": "gone", "configmap/two": "gone", "configmap/kept": "exists", "job/before": "gone",
			"configmap/after": "exists", "secret/sh.helm.release.v1.web.v1": "gone",
		},
	},
}

// helmRelease installs the chart in the root of the repository.
func helmRelease(name, more string) string {
	return fmt.Sprintf(`apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata:
  name: %s
spec:
  interval: 1h
  chart:
    spec:
      chart: .
      sourceRef:
        kind: GitRepository
        name: repo
%s`, name, more)
}

// chart are the files of a chart.
func chart(version string, files map[string]string) map[string]string {
	files["Chart.yaml"] = "apiVersion: v2\nname: web\nversion: " + version + "\n"
	return files
}

// helmJob runs for a moment as a hook, and is gone afterwards, however it ends.
func helmJob(name, hook, outcome string) string {
	return fmt.Sprintf(`apiVersion: batch/v1
kind: Job
metadata:
  name: %s
  annotations:
    helm.sh/hook: %s
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded,hook-failed
spec:
  backoffLimit: 0
  template:
    metadata:
      annotations:
        simulate.plumb.dev/outcome: %s
    spec:
      restartPolicy: Never
      containers:
        - name: main
          image: registry.example/migrate:1.0
`, name, hook, outcome)
}

// cascading has an Application take its objects along when it goes.
const cascading = "  finalizers:\n    - resources-finalizer.argocd.argoproj.io\n"

func application(name, path, metadata string) string {
	return fmt.Sprintf(`apiVersion: argoproj.io/v1alpha1
kind: Application
metadata:
  name: %s
%sspec:
  project: default
  source:
    repoURL: $REPO_URL
    targetRevision: main
    path: %s
  destination:
    server: https://kubernetes.default.svc
    namespace: $NS
  syncPolicy:
    automated:
      prune: true
      selfHeal: true
    retry:
      limit: -1
      backoff:
        duration: 1s
        factor: 1
`, name, metadata, path)
}

// annotated adds an annotation to an object that has none.
func annotated(object, annotation string) string {
	return strings.Replace(object, "metadata:\n", "metadata:\n  annotations:\n    "+annotation+"\n", 1)
}

// hookJob runs for a moment in a phase of a sync.
func hookJob(name, phase, policy string) string {
	return fmt.Sprintf(`apiVersion: batch/v1
kind: Job
metadata:
  name: %s
  annotations:
    argocd.argoproj.io/hook: %s
    argocd.argoproj.io/hook-delete-policy: %s
spec:
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: main
          image: registry.example/migrate:1.0
`, name, phase, policy)
}

func kustomization(name, path, more string) string {
	return fmt.Sprintf(`apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata:
  name: %s
spec:
  interval: 1h
  retryInterval: 2s
  sourceRef:
    kind: GitRepository
    name: repo
  path: %s
  prune: true
  targetNamespace: $NS
%s`, name, path, more)
}

func configMap(name, text string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: %s\ndata:\n  text: %s\n", name, text)
}

// deployment has no replicas; its selector, which is immutable, ends in a suffix.
func deployment(name, tag, suffix string) string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata:
  name: %[1]s
spec:
  replicas: 0
  selector:
    matchLabels:
      app: %[1]s%[3]s
  template:
    metadata:
      labels:
        app: %[1]s%[3]s
    spec:
      containers:
        - name: main
          image: registry.example/%[1]s:%[2]s
`, name, tag, suffix)
}

const widgets = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: widgets.$NS.example.com
spec:
  group: $NS.example.com
  names:
    kind: Widget
    plural: widgets
    singular: widget
  scope: Namespaced
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              properties:
                size:
                  type: integer
`
