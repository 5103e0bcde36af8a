// A team with a project, an ApplicationSet and rights, as commits and the API make them.
import type { Repository, Up } from "./up";

// team writes it into the sample repository; nothing is committed.
export function team(repository: Repository) {
  for (const file of ["kustomization.yaml", "namespace.yaml"]) repository.move(`overlays/local/${file}`, `overlays/hello/${file}`);
  const declared = [namespaces, access, projects, applications(repository.url), manyItems];
  repository.write("overlays/local/team.yaml", declared.join("---\n"));
  repository.write("overlays/local/kustomization.yaml", "resources: [../hello, team.yaml, kept.yaml]\n");
  repository.write("overlays/local/kept.yaml", configMap("kept", "namespace: team-a, annotations: {kustomize.toolkit.fluxcd.io/prune: disabled}"));
  repository.write("shop/front.yaml", configMap("front"));
  repository.write("board/page.yaml", configMap("page"));
  for (let i = 1; i <= 14; i++) repository.write(`many/item-${i}.yaml`, configMap(`item-${i}`, "namespace: default"));
}

// letIn gives a local account its password, as the argocd command does.
export async function letIn(up: Up, name: string, newPassword: string) {
  const call = async (method: string, path: string, body: object, token = "") => {
    const response = await fetch(`${up.console}/api/v1/${path}`, { method, headers: { "Content-Type": "application/json", ...(token && { Authorization: `Bearer ${token}` }) }, body: JSON.stringify(body) });
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
    return (await response.json()) as { token?: string };
  };
  const { token } = await call("POST", "session", { username: "admin", password: up.password });
  await call("PUT", "account/password", { name, currentPassword: up.password, newPassword }, token);
}

function configMap(name: string, metadata = ""): string {
  return `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ${name}${metadata && `, ${metadata}`}}\ndata: {text: hello}\n`;
}

const namespaces = `apiVersion: v1
kind: Namespace
metadata: {name: team-a}
---
apiVersion: v1
kind: Namespace
metadata: {name: team-b}
`;

const access = `apiVersion: v1
kind: ConfigMap
metadata: {name: argocd-cm, namespace: plumb-system, labels: {app.kubernetes.io/part-of: argocd}}
data: {accounts.viewer: login, accounts.bob: login}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: argocd-rbac-cm, namespace: plumb-system, labels: {app.kubernetes.io/part-of: argocd}}
data:
  policy.csv: |
    g, viewer, role:readonly
    p, role:team, applications, *, team/*, allow
    p, role:team, projects, get, team, allow
    g, bob, role:team
`;

const projects = `apiVersion: argoproj.io/v1alpha1
kind: AppProject
metadata: {name: team, namespace: argocd}
spec:
  sourceRepos: ['*']
  destinations: [{server: '*', namespace: 'team-*'}]
  orphanedResources: {warn: true}
---
apiVersion: argoproj.io/v1alpha1
kind: AppProject
metadata: {name: frozen, namespace: argocd}
spec:
  sourceRepos: ['*']
  destinations: [{server: '*', namespace: '*'}]
  syncWindows: [{kind: deny, schedule: '* * * * *', duration: 1h, applications: ['*']}]
`;

const manyItems = `apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: many, namespace: flux-system}
spec: {interval: 10m, path: ./many, prune: true, sourceRef: {kind: GitRepository, name: sample}}
`;

function applications(repository: string): string {
  const server = "https://kubernetes.default.svc";
  const one = (name: string, project: string, path: string, namespace: string, policy: string) => `apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: ${name}, namespace: argocd}
spec:
  project: ${project}
  source: {repoURL: "${repository}", path: ${path}, targetRevision: main}
  destination: {server: "${server}", namespace: ${namespace}}
  syncPolicy: ${policy}
`;
  const set = `apiVersion: argoproj.io/v1alpha1
kind: ApplicationSet
metadata: {name: shops, namespace: argocd}
spec:
  goTemplate: true
  generators:
  - list:
      elements:
      - {team: a, greeting: hello, token: hunter2}
      - {team: b, greeting: good day, token: hunter2}
  template:
    metadata: {name: 'shop-{{ .team }}'}
    spec:
      project: team
      source: {repoURL: "${repository}", path: shop, targetRevision: main}
      destination: {server: "${server}", namespace: 'team-{{ .team }}'}
      syncPolicy: {automated: {}}
`;
  return [one("board", "team", "board", "team-a", "{automated: {}}"), one("frozen", "frozen", "shop", "default", "{}"), set].join("---\n");
}
