// The objects of a delivery down to Pods, and their YAML.
import { create } from "@bufbuild/protobuf";
import { timestampDate, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { keyOf, refOf } from "../src/api/refs";
import type { ObjectRef } from "../src/gen/plumb/v1/common_pb";
import { EventSchema, NodeSchema, ResourceSchema, type Delivery, type Event, type Node, type Resource } from "../src/gen/plumb/v1/deliveries_pb";
import { services } from "./names";
import { Random } from "./random";

const core = (kind: string, namespace: string, name: string) => refOf({ version: "v1", kind, namespace, name });

export function nodesOf(d: Delivery): Node[] {
  const random = new Random(keyOf(d.ref));
  const ns = d.targetNamespace;
  const created = timestampFromMs(Number(d.created!.seconds) * 1000);
  const nodes: Node[] = [];
  const add = (object: ObjectRef, parents: Node[], more: Partial<Node> = {}) => {
    const node = create(NodeSchema, { id: keyOf(object), object, parents: parents.map((p) => p.id), created, health: { state: "Healthy", reason: "", message: "" }, sync: more.delivered ? "Synced" : "", ...(more as object) });
    nodes.push(node);
    return node;
  };
  const root = add(d.ref!, [], { delivery: true, health: d.health, sync: d.sync });
  const given = (object: ObjectRef, more: Partial<Node> = {}) => add(object, [root], { delivered: true, ...more });
  const count = Math.max(3, d.objects);
  given(core("Namespace", "", ns));
  given(core("ServiceAccount", ns, d.ref!.name));
  for (let i = 0; nodes.length - 1 < count && i < 400; i++) {
    const name = i === 0 ? d.ref!.name : `${d.ref!.name}-${services[(i * 7) % services.length]}`;
    const broken = i === 0 && d.unhealthy > 0;
    const busy = i === 0 && d.health?.state === "Progressing";
    const health = broken ? d.health! : busy ? d.health! : undefined;
    const workload = refOf({ group: "apps", version: "v1", kind: i % 4 === 3 ? "StatefulSet" : "Deployment", namespace: ns, name });
    const image = `registry.example.org/${services[(i * 7) % services.length]}:2.14.${random.upTo(9)}`;
    const replicas = i % 6 === 2 ? 14 : 1 + random.upTo(3);
    const owner = given(workload, { ...(health && { health }), sync: d.outOfSync > i ? "OutOfSync" : "Synced", info: [`${broken ? replicas - 1 : replicas}/${replicas} ready`], images: [image], logs: true });
    const set = workload.kind === "Deployment" ? add(refOf({ group: "apps", version: "v1", kind: "ReplicaSet", namespace: ns, name: `${name}-${random.hex(9)}` }), [owner], { info: [`revision ${1 + random.upTo(20)}`], ...(health && { health }), logs: true }) : owner;
    for (let p = 0; p < replicas; p++) {
      const bad = broken && p === 0;
      add(core("Pod", ns, `${set.object!.name}-${random.hex(5)}`), [set], { info: [bad ? "CrashLoopBackOff" : "Running", ...(bad ? [`${6 + random.upTo(40)} restarts`] : []), `node-${1 + random.upTo(12)}`], images: [image], logs: true, ...(bad && { health: d.health! }) });
    }
    const service = given(core("Service", ns, name));
    add(refOf({ group: "discovery.k8s.io", version: "v1", kind: "EndpointSlice", namespace: ns, name: `${name}-${random.hex(5)}` }), [service]);
    given(core("ConfigMap", ns, `${name}-config`), { sync: d.outOfSync > i + 1 ? "OutOfSync" : "Synced" });
    if (i % 2 === 0) given(core("Secret", ns, `${name}-credentials`));
    if (i % 3 === 0) given(refOf({ group: "networking.k8s.io", version: "v1", kind: "Ingress", namespace: ns, name }), { info: [`${name}.example.org`] });
  }
  if (d.hold) for (const object of d.hold.deletes.slice(0, 8)) add(object, [root], { delivered: true, prune: true, id: `${keyOf(object)}#held` });
  return nodes;
}

export function resourcesOf(d: Delivery): Resource[] {
  return nodesOf(d).filter((n) => n.delivered).map((n, i) =>
    create(ResourceSchema, { object: n.object, sync: n.sync, health: n.health, prune: n.prune, wave: i % 9 === 4 ? 1 : 0, file: `${d.source?.path ?? "."}/${n.object!.kind.toLowerCase()}.yaml`, line: 1 + (i % 3) * 24, drift: n.sync === "OutOfSync" ? "spec.replicas is 5, the source says 3" : "" }),
  );
}

export function yamlOf(object: ObjectRef, d: Delivery, drifted = false): string {
  const head = `apiVersion: ${object.group ? `${object.group}/` : ""}${object.version || "v1"}\nkind: ${object.kind}\nmetadata:\n  name: ${object.name}\n${object.namespace ? `  namespace: ${object.namespace}\n` : ""}  labels:\n    app.kubernetes.io/name: ${object.name}\n    app.kubernetes.io/managed-by: plumb\n    team: ${d.labels.team}\n`;
  if (object.kind === "Secret") return `${head}type: Opaque\ndata:\n  password: "***"\n  url: "***"\n`;
  if (object.kind === "ConfigMap") return `${head}data:\n  LOG_LEVEL: ${drifted ? "debug" : "info"}\n  FEATURES: "checkout,search"\n  app.yaml: |\n    listen: 0.0.0.0:8080\n    # read by the service at its start\n    timeout: ${drifted ? "60s" : "30s"}\n`;
  if (object.kind === "Service") return `${head}spec:\n  type: ClusterIP\n  selector:\n    app.kubernetes.io/name: ${object.name}\n  ports:\n    - name: http\n      port: 80\n      targetPort: 8080\n`;
  if (["Deployment", "StatefulSet", "ReplicaSet"].includes(object.kind))
    return `${head}spec:\n  replicas: ${drifted ? 5 : 3}\n  selector:\n    matchLabels:\n      app.kubernetes.io/name: ${object.name}\n  template:\n    metadata:\n      labels:\n        app.kubernetes.io/name: ${object.name}\n    spec:\n      serviceAccountName: ${object.name}\n      containers:\n        - name: app\n          image: registry.example.org/${object.name}:${drifted ? "2.14.2" : "2.14.3"}\n          ports:\n            - containerPort: 8080\n          env:\n            - name: LOG_LEVEL\n              value: info\n            - name: DATABASE_PASSWORD\n              value: "***"\n          resources:\n            requests:\n              cpu: 100m\n              memory: ${drifted ? "256Mi" : "512Mi"}\n          readinessProbe:\n            httpGet:\n              path: /healthz\n              port: 8080\n`;
  return `${head}spec: {}\n`;
}

export function eventsOf(object: ObjectRef, d: Delivery, bad: boolean): Event[] {
  const from = timestampDate(d.changed!).getTime();
  const about = object;
  const rows: [string, string, string, number][] = bad
    ? [["Warning", "BackOff", "Back-off restarting failed container app", 37], ["Warning", "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503", 12], ["Normal", "Pulled", "Successfully pulled image in 1.2s", 4]]
    : [["Normal", "ScalingReplicaSet", "Scaled up replica set to 3", 1], ["Normal", "Applied", "applied by plumb", 1]];
  return rows.map(([type, reason, message, count], i) => create(EventSchema, { type, reason, message, count, last: timestampFromMs(from - i * 240_000), from: i === 2 ? "kubelet" : "plumb", about }));
}
