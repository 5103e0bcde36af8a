// The objects that a delivery of the generated world delivers, and what each says.
import { keyOf, refOf } from "../src/api/refs";
import type { ObjectRef } from "../src/gen/plumb/v1/common_pb";
import type { Delivery } from "../src/gen/plumb/v1/deliveries_pb";
import { Random } from "./random";

export interface Part {
  object: ObjectRef;
  component: string; // name of the workload that it belongs to
  replicas: number; // of a workload
  image: string; // of what has Pods
  host: string; // of an Ingress
}

type Shape = "Deployment" | "StatefulSet" | "CronJob";

// What a service is made of besides itself, in the order in which it grows.
const components: readonly (readonly [name: string, shape: Shape, replicas: number])[] = [["worker", "Deployment", 2], ["redis", "StatefulSet", 1], ["cleanup", "CronJob", 0], ["consumer", "Deployment", 14], ["exporter", "Deployment", 1], ["index", "StatefulSet", 3], ["report", "CronJob", 0], ["mailer", "Deployment", 2]];

const known = new Map<string, readonly Part[]>();

// partsOf are the objects that a delivery wants; wanted is about how many.
export function partsOf(d: Delivery, wanted = d.objects): readonly Part[] {
  const key = `${keyOf(d.ref)} ${wanted}`;
  const before = known.get(key);
  if (before) return before;
  const parts = made(d, wanted);
  if (known.size > 200) known.clear();
  known.set(key, parts);
  return parts;
}

// workloadOf is the name of the Deployment that it is all about.
export function workloadOf(d: Delivery): string {
  return `${d.labels.team}-${d.labels["app.kubernetes.io/name"]}`;
}

// versionOf is the tag of the images of a delivery.
export function versionOf(d: Delivery): string {
  const random = new Random(`version ${keyOf(d.ref)}`);
  return `2.${10 + random.upTo(5)}.${1 + random.upTo(8)}`;
}

// imageOf is the image of one of its components.
export function imageOf(d: Delivery, component = workloadOf(d)): string {
  return component.includes("-redis") ? "redis:7.4.1" : `registry.example.org/${d.labels.team}/${component.replace(`${d.labels.team}-`, "")}:${versionOf(d)}`;
}

function made(d: Delivery, wanted: number): Part[] {
  if (d.ref!.kind === "ApplicationSet") return [];
  const main = workloadOf(d);
  const parts: Part[] = [];
  const add = (group: string, kind: string, name: string, more: Partial<Part> = {}) => parts.push({ object: refOf({ group, version: "v1", kind, namespace: d.targetNamespace, name }), component: main, replicas: 0, image: "", host: "", ...more });
  add("", "ServiceAccount", main);
  for (let i = 0; parts.length < wanted; i++) {
    const [suffix, shape, replicas] = i === 0 ? (["", "Deployment", 3] as const) : components[(i - 1) % components.length]!;
    const round = Math.floor((i - 1) / components.length);
    const name = i === 0 ? main : `${main}-${suffix}${round > 0 ? `-${round + 1}` : ""}`;
    const own = { component: name };
    add(shape === "CronJob" ? "batch" : "apps", shape, name, { ...own, replicas, image: imageOf(d, name) });
    if (shape === "CronJob") continue;
    add("", "ConfigMap", `${name}-config`, own);
    add("", "Service", name, own);
    if (i === 0) add("", "Secret", `${name}-database`, own);
    if (i === 0) add("networking.k8s.io", "Ingress", name, { ...own, host: `${name}.${d.labels.env === "prod" ? "" : `${d.labels.env}.`}example.org` });
    if (replicas > 1) add("policy", "PodDisruptionBudget", name, own);
  }
  return parts;
}

// driftedOf are the objects of a delivery that somebody has changed in the cluster.
export function driftedOf(d: Delivery): ReadonlySet<string> {
  const able = partsOf(d).filter((p) => p.object.kind === "ConfigMap" || (p.object.kind === "Deployment" && p.replicas > 1));
  return new Set(able.slice(0, d.outOfSync).map((p) => keyOf(p.object)));
}

const lines = (...text: (string | false)[]) => text.filter((line) => line !== false).map((line) => `${line}\n`).join("");

// yamlOf is an object as it is wanted or, drifted, as somebody has left it.
export function yamlOf(part: Part, d: Delivery, drifted = false): string {
  const { object } = part;
  const head = [
    `apiVersion: ${object.group ? `${object.group}/` : ""}${object.version}`,
    `kind: ${object.kind}`,
    "metadata:",
    `  name: ${object.name}`,
    `  namespace: ${object.namespace}`,
    "  labels:",
    `    app.kubernetes.io/name: ${part.component}`,
    `    app.kubernetes.io/part-of: ${workloadOf(d)}`,
    `    team: ${d.labels.team}`,
  ];
  return lines(...head) + bodyOf(part, d, drifted);
}

function bodyOf(part: Part, d: Delivery, drifted: boolean): string {
  const { object, component } = part;
  switch (object.kind) {
    case "ConfigMap":
      return lines("data:", `  LOG_LEVEL: ${drifted ? "debug" : "info"}`, "  app.yaml: |", "    listen: 0.0.0.0:8080", "    # read once, when the service starts", "    timeout: 30s");
    case "Secret":
      return lines("type: Opaque", "data:", "  password: \"***\"", "  url: \"***\"");
    case "Service":
      return lines("spec:", "  type: ClusterIP", "  selector:", `    app.kubernetes.io/name: ${component}`, "  ports:", "  - name: http", "    port: 80", "    targetPort: http");
    case "Ingress":
      return lines("spec:", "  ingressClassName: nginx", "  rules:", `  - host: ${part.host}`, "    http:", "      paths:", "      - path: /", "        pathType: Prefix", "        backend:", "          service:", `            name: ${component}`, "            port:", "              name: http");
    case "PodDisruptionBudget":
      return lines("spec:", "  maxUnavailable: 1", "  selector:", "    matchLabels:", `      app.kubernetes.io/name: ${component}`);
    case "CronJob":
      return lines("spec:", "  schedule: 15 3 * * *", "  concurrencyPolicy: Forbid", "  jobTemplate:", "    spec:", "      template:", "        spec:", "          restartPolicy: OnFailure", "          containers:", "          - name: app", `            image: ${part.image}`);
    case "Deployment":
    case "StatefulSet":
      return workloadYaml(part, d, drifted);
  }
  return "";
}

function workloadYaml({ object, component, replicas, image }: Part, d: Delivery, drifted: boolean): string {
  return lines(
    "spec:",
    `  replicas: ${drifted ? replicas + 2 : replicas}`,
    object.kind === "StatefulSet" && `  serviceName: ${component}`,
    "  selector:",
    "    matchLabels:",
    `      app.kubernetes.io/name: ${component}`,
    "  template:",
    "    metadata:",
    "      labels:",
    `        app.kubernetes.io/name: ${component}`,
    "    spec:",
    `      serviceAccountName: ${workloadOf(d)}`,
    "      containers:",
    "      - name: app",
    `        image: ${image}`,
    "        ports:",
    "        - name: http",
    "          containerPort: 8080",
    "        envFrom:",
    "        - configMapRef:",
    `            name: ${component}-config`,
    "        - secretRef:",
    `            name: ${workloadOf(d)}-database`,
    "        resources:",
    "          requests:",
    "            cpu: 100m",
    "            memory: 512Mi",
    "        readinessProbe:",
    "          httpGet:",
    "            path: /healthz",
    "            port: http",
  );
}
