// Which of the nodes are drawn, and in which order: narrowed by what was asked
// for, with many alike folded into one. The order depends on names and kinds
// alone, so that nothing changes places when states do.
import type { Node } from "~/gen/plumb/v1/deliveries_pb";
import type { Nodes } from "./useGraph";

export interface Item {
  id: string;
  depth: number;
  parent?: Item;
  children: Item[];
  node?: Node; // not set for a group
  group?: Group;
  context: boolean; // it does not match itself, but leads to what does
}

export interface Group {
  kind: string;
  members: Node[];
  open: boolean;
  tally: [state: string, count: number][]; // worst first
}

export interface Wanted {
  text: string;
  health: readonly string[];
  kind: readonly string[];
}

export interface Folding {
  opened: ReadonlySet<string>; // groups
  keep: string; // a node that has to be seen, such as the chosen one
  all: boolean; // fold nothing
}

export interface Shape {
  roots: Item[];
  items: Item[]; // from top to bottom
  byId: ReadonlyMap<string, Item>;
  extra: [from: string, to: string][]; // edges besides those of the tree
  matching: number;
}

const manyLeaves = 6;
const manyBranches = 12;
const shownBad = 6;
const badStates = ["Degraded", "Missing"];
const order = ["Degraded", "Missing", "Unknown", "Progressing", "Suspended", "Healthy"];

// Workloads and what leads to them come first, plumbing last.
const kindRank = ["Kustomization", "HelmRelease", "Application", "ApplicationSet", "Deployment", "StatefulSet", "DaemonSet", "Rollout", "CronJob", "Job", "ReplicaSet", "Pod", "Ingress", "HTTPRoute", "Gateway", "Service", "EndpointSlice", "ConfigMap", "Secret", "PersistentVolumeClaim", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy", "ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "Namespace", "CustomResourceDefinition"];

export function healthOf(node: Pick<Node, "health">): string {
  return node.health?.state || "Healthy";
}

// One collator for all: asking for its options with each comparison is what makes sorting slow.
const { compare } = new Intl.Collator("en", { numeric: true });
const rankOf = new Map(kindRank.map((kind, i) => [kind, i]));

export function compareNodes(a: Node, b: Node): number {
  const [x, y] = [a.object!, b.object!];
  const rank = (kind: string) => rankOf.get(kind) ?? kindRank.length;
  return rank(x.kind) - rank(y.kind) || compare(x.kind, y.kind) || compare(x.namespace, y.namespace) || compare(x.name, y.name) || compare(a.id, b.id);
}

export function shapeOf(nodes: Nodes, wanted: Wanted, folding: Folding): Shape {
  const { children, roots, extra } = treeOf(nodes);
  const { visible, matching } = narrowed(nodes, wanted);
  const narrowing = matching.size < nodes.size;
  const items: Item[] = [];
  const byId = new Map<string, Item>();

  const add = (item: Item) => {
    items.push(item);
    byId.set(item.id, item);
    return item;
  };
  const place = (node: Node, depth: number, parent?: Item): Item => {
    const item = add({ id: node.id, depth, parent, children: [], node, context: narrowing && !matching.has(node.id) });
    const below = (children.get(node.id) ?? []).filter((child) => visible.has(child.id));
    for (const part of folded(node.id, below, children, folding)) {
      if ("id" in part && "members" in part) {
        item.children.push(add({ id: part.id, depth: depth + 1, parent: item, children: [], group: part, context: false }));
        if (part.open) for (const member of part.members) item.children.push(place(member, depth + 1, item));
      } else item.children.push(place(part, depth + 1, item));
    }
    return item;
  };
  const shown = roots.filter((root) => visible.has(root.id)).map((root) => place(root, 0));
  return { roots: shown, items, byId, extra: extra.filter(([from, to]) => byId.has(from) && byId.has(to)), matching: matching.size };
}

// treeOf hangs each node below the first of its parents that is there.
function treeOf(nodes: Nodes) {
  const children = new Map<string, Node[]>();
  const roots: Node[] = [];
  const extra: [string, string][] = [];
  const reached = new Set<string>();
  for (const node of nodes.values()) {
    const [first, ...others] = node.parents.filter((id) => nodes.has(id) && id !== node.id);
    if (first === undefined) roots.push(node);
    else entryOf(children, first).push(node);
    for (const other of others) extra.push([other, node.id]);
  }
  for (const list of children.values()) list.sort(compareNodes);
  roots.sort(compareNodes);
  // Owners that go round in a circle have no root: they begin one.
  const walk = (node: Node) => {
    if (reached.has(node.id)) return;
    reached.add(node.id);
    children.get(node.id)?.forEach(walk);
  };
  roots.forEach(walk);
  for (const node of [...nodes.values()].sort(compareNodes)) {
    if (reached.has(node.id)) continue;
    for (const [id, list] of children) children.set(id, list.filter((child) => child !== node));
    roots.push(node);
    walk(node);
  }
  return { children, roots, extra };
}

// narrowed finds what matches, and what leads there.
function narrowed(nodes: Nodes, wanted: Wanted) {
  const words = wanted.text.toLowerCase().split(/\s+/).filter(Boolean);
  const matching = new Set<string>();
  const visible = new Set<string>();
  for (const node of nodes.values()) {
    const text = `${node.object!.kind} ${node.object!.namespace}/${node.object!.name} ${node.info.join(" ")} ${node.images.join(" ")}`.toLowerCase();
    const fits = words.every((word) => text.includes(word)) && (wanted.health.length === 0 || wanted.health.includes(healthOf(node))) && (wanted.kind.length === 0 || wanted.kind.includes(node.object!.kind));
    if (!fits) continue;
    matching.add(node.id);
    for (let at: Node | undefined = node; at && !visible.has(at.id); ) {
      visible.add(at.id);
      at = at.parents.map((id) => nodes.get(id)).find((parent) => parent !== undefined);
    }
  }
  return { matching, visible };
}

type Folded = Group & { id: string };

// folded puts many alike below one parent into a group. What is broken stays in
// sight, and so does what was chosen.
function folded(parent: string, siblings: Node[], children: ReadonlyMap<string, Node[]>, folding: Folding): (Node | Folded)[] {
  if (folding.all) return siblings;
  const alike = new Map<string, Node[]>();
  for (const node of siblings) {
    entryOf(alike, `${node.object!.group}/${node.object!.kind}`).push(node);
  }
  return [...alike].flatMap(([key, list]): (Node | Folded)[] => {
    const leaves = list.every((node) => !children.has(node.id));
    if (list.length <= (leaves ? manyLeaves : manyBranches)) return list;
    const bad = new Set(list.filter((node) => badStates.includes(healthOf(node))).slice(0, shownBad));
    const within = (node: Node): boolean => node.id === folding.keep || (children.get(node.id) ?? []).some(within);
    const apart = list.filter((node) => bad.has(node) || (folding.keep !== "" && within(node)));
    const members = list.filter((node) => !apart.includes(node));
    if (members.length < 2) return list;
    const id = `${parent}|${key}`;
    return [...apart, { id, kind: list[0]!.object!.kind, members, open: folding.opened.has(id), tally: tallyOf(members) }];
  });
}

function entryOf(lists: Map<string, Node[]>, key: string): Node[] {
  let list = lists.get(key);
  if (!list) lists.set(key, (list = []));
  return list;
}

export function tallyOf(nodes: readonly Node[]): [string, number][] {
  const counts = new Map<string, number>();
  for (const node of nodes) counts.set(healthOf(node), (counts.get(healthOf(node)) ?? 0) + 1);
  return [...counts].sort((a, b) => order.indexOf(a[0]) - order.indexOf(b[0]));
}
