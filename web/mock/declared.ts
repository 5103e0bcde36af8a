// How a delivery of the generated world is declared, and what its render is given.
import type { Delivery } from "../src/gen/plumb/v1/deliveries_pb";
import { imageOf, versionOf, workloadOf } from "./parts";

export function parametersOf(d: Delivery): { name: string; value: string }[] {
  const path = { name: "path", value: d.source?.path ?? "" };
  switch (d.ref!.kind) {
    case "Kustomization":
      return [path, { name: "postBuild.substitute.cluster", value: d.cluster }, { name: "postBuild.substitute.region", value: "eu-west" }, { name: "postBuild.substituteFrom", value: "Secret flux-system/cluster-secrets" }];
    case "HelmRelease":
      return [{ name: "helm.releaseName", value: workloadOf(d) }, { name: "helm.valuesFrom", value: `Secret ${d.ref!.namespace}/${workloadOf(d)}-values` }, { name: "helm.values", value: valuesOf(d, "") }];
    case "Application":
      return [...(d.madeBy ? generated(d) : []), path, { name: "kustomize.images", value: imageOf(d) }];
  }
  return [];
}

function generated(d: Delivery) {
  return [{ name: "generator.cluster", value: d.cluster }, { name: "generator.env", value: d.labels.env ?? "" }, { name: "generator.name", value: d.ref!.name }, { name: "generator.service", value: d.labels["app.kubernetes.io/name"] ?? "" }];
}

function valuesOf(d: Delivery, indent: string): string {
  return ["database:", "  host: db.internal", "  password: \"***\"", "image:", `  tag: ${versionOf(d)}`, "replicas: 3"].map((line) => `${indent}${line}\n`).join("");
}

export function manifestOf(d: Delivery): string {
  const labels = Object.entries(d.labels).map(([k, v]) => `    ${k}: ${v}\n`).join("");
  return `apiVersion: ${d.ref!.group}/${d.ref!.version}\nkind: ${d.ref!.kind}\nmetadata:\n  name: ${d.ref!.name}\n  namespace: ${d.ref!.namespace}\n  labels:\n${labels}spec:\n${specs[d.ref!.kind]!(d)}`;
}

const suspension = (d: Delivery) => (d.suspended ? "  suspend: true\n" : "");

const specs: Record<string, (d: Delivery) => string> = {
  Kustomization: (d) => `  interval: 10m\n  path: ${d.source?.path}\n  prune: true\n  wait: true\n${suspension(d)}  targetNamespace: ${d.targetNamespace}\n  sourceRef:\n    kind: ${d.source?.ref?.kind}\n    name: ${d.source?.ref?.name}\n${d.dependsOn.map((on) => `  dependsOn:\n  - name: ${on.name}\n    namespace: ${on.namespace}\n`).join("")}  postBuild:\n    substitute:\n      cluster: ${d.cluster}\n      region: eu-west\n    substituteFrom:\n    - kind: Secret\n      name: cluster-secrets\n`,
  HelmRelease: (d) => `  interval: 30m\n${suspension(d)}  releaseName: ${workloadOf(d)}\n  targetNamespace: ${d.targetNamespace}\n  chart:\n    spec:\n      chart: ${d.source?.chart}\n      version: ${d.source?.targetRevision}\n      sourceRef:\n        kind: HelmRepository\n        name: ${d.source?.ref?.name}\n        namespace: flux-system\n  valuesFrom:\n  - kind: Secret\n    name: ${workloadOf(d)}-values\n  values:\n${valuesOf(d, "    ")}`,
  Application: (d) => `  project: ${d.project}\n  source:\n    repoURL: ${d.source?.url}\n    path: ${d.source?.path}\n    targetRevision: ${d.source?.targetRevision}\n    kustomize:\n      images:\n      - ${imageOf(d)}\n  destination:\n    name: ${d.cluster}\n    namespace: ${d.targetNamespace}\n${d.automation === "automatic" ? "  syncPolicy:\n    automated:\n      prune: true\n" : ""}`,
  ApplicationSet: (d) => `  goTemplate: true\n  generators:\n  - git:\n      repoURL: https://git.example.org/${d.labels.team}/deploy\n      revision: main\n      files:\n      - path: fleet/*.yaml\n  template:\n    metadata:\n      name: '{{ .name }}'\n    spec:\n      project: ${d.project}\n      source:\n        repoURL: https://git.example.org/${d.labels.team}/deploy\n        path: '{{ .env }}/{{ .service }}'\n        targetRevision: main\n      destination:\n        name: '{{ .cluster }}'\n        namespace: '${d.labels.team}-{{ .env }}'\n`,
};
