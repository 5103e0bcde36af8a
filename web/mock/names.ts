// The words of which the generated world is made.

export const teams = ["payments", "checkout", "search", "identity", "logistics", "media", "growth", "data", "platform", "risk", "mobile", "support"];
export const services = ["api", "worker", "gateway", "frontend", "scheduler", "orders", "events", "ledger", "reports", "webhooks", "exports", "profile", "catalog", "pricing", "inventory", "notifier", "session", "billing", "quotes", "geo"];
// since is how many days ago the cluster was last reached anew.
export const clusters = [
  { name: "in-cluster", server: "https://kubernetes.default.svc", version: "v1.34.2", region: "eu-west", since: 96 },
  { name: "prod-eu-1", server: "https://eu-1.prod.example.org", version: "v1.34.1", region: "eu-west", since: 41 },
  { name: "prod-us-1", server: "https://us-1.prod.example.org", version: "v1.34.1", region: "us-east", since: 41 },
  { name: "prod-ap-1", server: "https://ap-1.prod.example.org", version: "v1.33.5", region: "ap-south", since: 12 },
  { name: "staging", server: "https://staging.example.org", version: "v1.34.2", region: "eu-west", since: 8 },
  { name: "edge-fleet", server: "https://edge.example.org", version: "v1.32.9", region: "edge", since: 0 },
];
export const people = ["Ann Lee <ann@example.org>", "Jonas Berg <jonas@example.org>", "Priya Nair <priya@example.org>", "Mateo Ruiz <mateo@example.org>", "Sofia Lindqvist <sofia@example.org>", "Kenji Watanabe <kenji@example.org>"];

// Commits, and the kinds of objects that each of them touches.
export const commits = [
  { subject: "Bump image to the latest patch", touches: ["Deployment"] },
  { subject: "Raise memory request to 512Mi", touches: ["Deployment"] },
  { subject: "Turn on structured logs", touches: ["ConfigMap", "Deployment"] },
  { subject: "Add a pod disruption budget", touches: ["PodDisruptionBudget"] },
  { subject: "Fix the path of the readiness probe", touches: ["Deployment"] },
  { subject: "Rotate the database credentials", touches: ["Secret", "Deployment"] },
  { subject: "Scale to three replicas", touches: ["Deployment"] },
  { subject: "Serve under the new host name", touches: ["Ingress"] },
  { subject: "Raise the timeout to 30s", touches: ["ConfigMap"] },
  { subject: "Spread pods over zones", touches: ["Deployment"] },
  { subject: "Name the service account", touches: ["ServiceAccount", "Deployment"] },
  { subject: "Revert \"Raise the timeout to 60s\"", touches: ["ConfigMap"] },
] as const;

export type Kind = "Kustomization" | "HelmRelease" | "Application" | "ApplicationSet";

export interface Failure {
  reason: string;
  kinds: readonly Kind[];
  phase: string;
  health: string;
  message: (names: { namespace: string; workload: string; team: string; path: string }) => string;
  advice: string;
  share: number; // 0: only where something else is the cause
}

const crash = "1 of 3 replicas updated; pod is in CrashLoopBackOff: container app exited with 1";
const unpulled = "1 of 3 replicas updated; container app: ImagePullBackOff";

// What goes wrong, in the words of the dialect that each kind belongs to.
export const failures: readonly Failure[] = [
  { reason: "HealthCheckFailed", kinds: ["Kustomization"], phase: "settle", health: "Degraded", message: ({ namespace, workload }) => `health check failed after 5m0s: Deployment/${namespace}/${workload}: ${crash}`, advice: "read its log of the previous instance", share: 30 },
  { reason: "BuildFailed", kinds: ["Kustomization"], phase: "render", health: "Degraded", message: ({ path }) => `kustomize build failed: ${path}/kustomization.yaml: resources[2]: ../../base/ingress.yaml: no such file or directory`, advice: "add the file, or take it out of resources", share: 16 },
  { reason: "ReconciliationFailed", kinds: ["Kustomization"], phase: "apply", health: "Degraded", message: ({ namespace, workload }) => `Deployment/${namespace}/${workload}: admission webhook "policy.example.org" denied the request: the image has no digest`, advice: "pin the image by its digest, as the policy asks", share: 14 },
  { reason: "ArtifactFailed", kinds: ["Kustomization"], phase: "resolve", health: "Degraded", message: ({ team }) => `GitRepository 'flux-system/${team}-deploy': authentication required: https://git.example.org/${team}/deploy`, advice: "renew the token in Secret flux-system/git-credentials", share: 0 },
  { reason: "DependencyNotReady", kinds: ["Kustomization"], phase: "gate", health: "Progressing", message: () => "dependency 'flux-system/platform-crds' is not ready", advice: "", share: 0 },
  { reason: "InstallFailed", kinds: ["HelmRelease"], phase: "apply", health: "Degraded", message: ({ namespace, workload }) => `Helm install failed for release ${namespace}/${workload}: Service "${workload}" is invalid: spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated`, advice: "choose another nodePort, or leave it out", share: 9 },
  { reason: "UpgradeFailed", kinds: ["HelmRelease"], phase: "settle", health: "Degraded", message: ({ namespace, workload }) => `Helm upgrade failed for release ${namespace}/${workload}: Deployment/${namespace}/${workload}: ${unpulled}`, advice: "correct the image's name or tag, or give the pod the registry's credentials", share: 14 },
  { reason: "CrashLoopBackOff", kinds: ["Application"], phase: "settle", health: "Degraded", message: ({ namespace, workload }) => `Deployment/${namespace}/${workload}: ${crash}`, advice: "read its log of the previous instance", share: 30 },
  { reason: "ImagePullBackOff", kinds: ["Application"], phase: "settle", health: "Degraded", message: ({ namespace, workload }) => `Deployment/${namespace}/${workload}: ${unpulled}`, advice: "correct the image's name or tag, or give the pod the registry's credentials", share: 14 },
  { reason: "ComparisonError", kinds: ["Application"], phase: "render", health: "Degraded", message: ({ path }) => `Failed to load target state: ${path}/values.yaml: line 12: mapping values are not allowed in this context`, advice: "correct the YAML", share: 12 },
  { reason: "OperationError", kinds: ["Application"], phase: "apply", health: "Degraded", message: ({ namespace, workload }) => `one or more objects failed to apply: Deployment/${namespace}/${workload}: spec.selector: Invalid value: field is immutable`, advice: "sync with Replace, or give the Deployment another name", share: 10 },
  { reason: "ApplicationGenerationFromParamsError", kinds: ["ApplicationSet"], phase: "render", health: "Degraded", message: ({ team }) => `spec.generators[0].git: https://git.example.org/${team}/deploy: authentication required`, advice: "renew the token of the repository", share: 1 },
];
