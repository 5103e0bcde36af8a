export const teams = ["payments", "checkout", "search", "identity", "logistics", "media", "growth", "data", "platform", "risk", "mobile", "support"];
export const services = ["api", "worker", "gateway", "frontend", "scheduler", "cache", "events", "ledger", "reports", "webhooks", "exports", "profile", "catalog", "pricing", "inventory", "notifier", "session", "billing", "quotes", "geo"];
export const clusters = [
  { name: "in-cluster", server: "https://kubernetes.default.svc", version: "v1.34.2", region: "local", project: "" },
  { name: "prod-eu-1", server: "https://eu-1.prod.example.org", version: "v1.34.1", region: "eu-west", project: "" },
  { name: "prod-us-1", server: "https://us-1.prod.example.org", version: "v1.34.1", region: "us-east", project: "" },
  { name: "prod-ap-1", server: "https://ap-1.prod.example.org", version: "v1.33.5", region: "ap-south", project: "" },
  { name: "staging", server: "https://staging.example.org", version: "v1.34.2", region: "eu-west", project: "" },
  { name: "edge-fleet", server: "https://edge.example.org", version: "v1.32.9", region: "edge", project: "edge" },
];
export const environments = ["prod", "staging", "dev"];
export const people = ["Ann Lee <ann@example.org>", "Jonas Berg <jonas@example.org>", "Priya Nair <priya@example.org>", "Mateo Ruiz <mateo@example.org>", "Sofia Lindqvist <sofia@example.org>", "Kenji Watanabe <kenji@example.org>"];
export const subjects = ["Raise memory of the worker to 512Mi", "Bump image to 2.14.3", "Route checkout through the new gateway", "Add a pod disruption budget", "Fix the readiness probe's path", "Rotate certificates", "Scale to three replicas", "Drop the deprecated ingress class", "Turn on structured logs", "Move session store to Redis 7", "Set topology spread", "Revert “Raise the timeout to 30 s”"];

// What goes wrong, in the words of both dialects.
export const failures = [
  { reason: "HealthCheckFailed", phase: "settle", health: "Degraded", message: (n: string) => `Deployment/${n}: 1 of 3 pods is not ready: CrashLoopBackOff, container “app” exited with 1`, share: 30 },
  { reason: "BuildFailed", phase: "render", health: "Degraded", message: () => "kustomization.yaml: resources[2]: ../base/ingress.yaml: no such file", share: 16 },
  { reason: "ReconciliationFailed", phase: "apply", health: "Degraded", message: (n: string) => `Deployment/${n}: admission webhook “policy.example.org” denied the request: image has no digest`, share: 14 },
  { reason: "ArtifactFailed", phase: "resolve", health: "Unknown", message: () => "the source could not be fetched: authentication required for https://git.example.org/logistics/deploy", share: 12 },
  { reason: "InstallFailed", phase: "apply", health: "Degraded", message: (n: string) => `Helm install of ${n} failed: 1 error occurred: Service “${n}” is invalid: spec.ports[0].nodePort: provided port is already allocated`, share: 10 },
  { reason: "DependencyNotReady", phase: "gate", health: "Unknown", message: () => "waits for flux-system/platform-crds, which is not ready", share: 10 },
  { reason: "ImagePullBackOff", phase: "settle", health: "Degraded", message: (n: string) => `Pod/${n}-7d9c5b6f4-x2v9k: cannot pull registry.example.org/${n}:2.14.3: not found`, share: 16 },
];
