import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { refOf } from "~/api/refs";
import { NodeSchema, type Node } from "~/gen/plumb/v1/deliveries_pb";
import { begun, held, legible, overlaps, revealed, zoomedAt } from "./camera";
import { parted } from "./Card";
import { boxPaths, edgesPath } from "./drawing";
import { layoutOf } from "./layout";
import { shapeOf, type Folding, type Shape, type Wanted } from "./shape";
import { applied, type Nodes } from "./useGraph";
import { walk } from "./walk";

const anything: Wanted = { text: "", health: [], kind: [] };
const folding: Folding = { opened: new Set(), keep: "", all: false };
const unfolded: Folding = { ...folding, all: true };

function node(kind: string, name: string, parents: string[] = ["root"], state = "Healthy"): Node {
  return create(NodeSchema, { id: name, object: refOf({ kind, namespace: "shop", name }), parents, health: { state } });
}

function graph(...nodes: Node[]): Nodes {
  return applied(new Map(), { reset: true, changed: [node("Kustomization", "root", []), ...nodes], removed: [] });
}

function workload(name: string, pods: number, state = "Healthy"): Node[] {
  return [node("Deployment", name), node("ReplicaSet", `${name}-1`, [name]), ...Array.from({ length: pods }, (_, i) => node("Pod", `${name}-1-${i}`, [`${name}-1`], i === 0 ? state : "Healthy"))];
}

const shop = () => graph(...workload("api", 3), ...workload("web", 2), node("Service", "api-service"), node("ConfigMap", "config"));
const names = (shape: Shape) => shape.items.map((item) => item.id);
const boxesOf = (nodes: Nodes, more = unfolded) => layoutOf(shapeOf(nodes, anything, more)).boxes;

describe("the stream of a graph", () => {
  it("forgets, changes and removes", () => {
    const first = graph(node("Pod", "a"), node("Pod", "b"));
    const second = applied(first, { reset: false, changed: [node("Pod", "a", ["root"], "Degraded")], removed: ["b"] });
    expect([...second.keys()]).toEqual(["root", "a"]);
    expect(second.get("a")!.health!.state).toBe("Degraded");
    expect(first.get("a")!.health!.state).toBe("Healthy");
    expect([...applied(second, { reset: true, changed: [node("Pod", "c", [])], removed: [] }).keys()]).toEqual(["c"]);
  });
});

describe("the layout", () => {
  it("puts generations into columns and lets no two boxes touch", () => {
    const shape = shapeOf(shop(), anything, unfolded);
    const { boxes } = layoutOf(shape);
    for (const item of shape.items) expect(boxes.get(item.id)!.x).toBe(item.depth * (boxes.get("api")!.x - boxes.get("root")!.x));
    const all = [...boxes.values()];
    for (const [i, a] of all.entries()) for (const b of all.slice(i + 1)) expect(overlaps(a, b)).toBe(false);
  });

  it("does not depend on the order in which nodes come", () => {
    const nodes = [...shop().values()];
    const turned = applied(new Map(), { reset: true, changed: [...nodes].reverse(), removed: [] });
    expect(boxesOf(turned)).toEqual(boxesOf(shop()));
  });

  it("moves nothing when states change", () => {
    const before = shop();
    const after = applied(before, { reset: false, changed: [node("Pod", "api-1-0", ["api-1"], "Degraded"), node("ConfigMap", "config", ["root"], "Missing")], removed: [] });
    expect(boxesOf(after)).toEqual(boxesOf(before));
  });

  it("moves only what is below when a branch grows or shrinks", () => {
    const before = shop();
    const after = applied(before, { reset: false, changed: [node("Pod", "web-1-5", ["web-1"])], removed: [] });
    const [old, now] = [boxesOf(before), boxesOf(after)];
    for (const id of ["root", "api", "api-1", "api-1-0", "api-1-2", "web", "web-1", "web-1-0", "web-1-1"]) expect(now.get(id)).toEqual(old.get(id));
    expect(now.get("api-service")!.y).toBeGreaterThan(old.get("api-service")!.y);
    expect(boxesOf(applied(after, { reset: false, changed: [], removed: ["web-1-5"] }))).toEqual(old);
  });

  it("lays out 2,000 nodes quickly, and draws them as a few paths", () => {
    const nodes = graph(...Array.from({ length: 400 }, (_, i) => workload(`w${i}`, 3)).flat());
    const began = performance.now();
    const shape = shapeOf(nodes, anything, unfolded);
    const layout = layoutOf(shape);
    expect(shape.items).toHaveLength(2_001);
    expect(layout.boxes.size).toBe(2_001);
    expect(boxPaths(shape.items, layout, () => "good")).toHaveLength(1);
    expect(edgesPath(shape, layout).match(/M/g)).toHaveLength(2_000);
    expect(performance.now() - began).toBeLessThan(4_000);
  });

  it("draws only the edges that cross what is seen", () => {
    const shape = shapeOf(shop(), anything, unfolded);
    const layout = layoutOf(shape);
    expect(edgesPath(shape, layout, { x: 0, y: 0, width: 300, height: 20 })).toContain("M");
    expect(edgesPath(shape, layout, { x: 5_000, y: 0, width: 10, height: 10 })).toBe("");
  });
});

describe("what is shown", () => {
  it("puts workloads before plumbing, and numbers in their order", () => {
    expect(names(shapeOf(graph(node("ConfigMap", "a"), node("Pod", "p-10"), node("Pod", "p-9"), node("Deployment", "z")), anything, unfolded))).toEqual(["root", "z", "p-9", "p-10", "a"]);
  });

  it("folds many alike, and keeps what is broken or chosen in sight", () => {
    const nodes = graph(node("Deployment", "api"), ...Array.from({ length: 40 }, (_, i) => node("Pod", `pod-${i}`, ["api"], i === 7 ? "Degraded" : i < 3 ? "Progressing" : "Healthy")));
    const shape = shapeOf(nodes, anything, { ...folding, keep: "pod-20" });
    expect(names(shape)).toEqual(["root", "api", "pod-7", "pod-20", "api|/Pod"]);
    expect(shape.byId.get("api|/Pod")!.group!.tally).toEqual([["Progressing", 3], ["Healthy", 35]]);
    expect(shapeOf(nodes, anything, { ...folding, opened: new Set(["api|/Pod"]) }).items).toHaveLength(3 + 40);
    expect(shapeOf(nodes, anything, unfolded).items).toHaveLength(2 + 40);
  });

  it("keeps the group of a chosen Pod's owner out of the fold", () => {
    const nodes = graph(...Array.from({ length: 20 }, (_, i) => workload(`w${String(i).padStart(2, "0")}`, 1)).flat());
    expect(shapeOf(nodes, anything, folding).items).toHaveLength(2);
    expect(names(shapeOf(nodes, anything, { ...folding, keep: "w03-1-0" }))).toEqual(["root", "w03", "w03-1", "w03-1-0", "root|/Deployment"]);
  });

  it("narrows to what matches and the way there", () => {
    const shape = shapeOf(graph(...workload("api", 2, "Degraded"), ...workload("web", 1)), { ...anything, health: ["Degraded"] }, folding);
    expect(names(shape)).toEqual(["root", "api", "api-1", "api-1-0"]);
    expect(shape.items.map((item) => item.context)).toEqual([true, true, true, false]);
    expect(shape.matching).toBe(1);
    expect(shapeOf(shop(), { ...anything, text: "nothing like it" }, folding).items).toEqual([]);
  });

  it("shows every node once, even with several parents or owners in a circle", () => {
    const shape = shapeOf(graph(node("Service", "s"), node("EndpointSlice", "e", ["s", "root"]), node("Job", "x", ["y"]), node("Job", "y", ["x"]), node("Pod", "lost", ["not-there"])), anything, folding);
    expect(names(shape).sort()).toEqual(["e", "lost", "root", "s", "x", "y"]);
    expect(shape.extra).toEqual([["root", "e"]]);
  });
});

describe("walking", () => {
  it("goes to children, parents and neighbours, and stays where there are none", () => {
    const shape = shapeOf(shop(), anything, unfolded);
    const layout = layoutOf(shape);
    const to = (from: string, ...steps: Parameters<typeof walk>[3][]) => steps.reduce((at, step) => walk(shape, layout, at, step), from);
    expect(to("root", "ArrowRight", "ArrowRight", "ArrowRight")).toBe("api-1-0");
    expect(to("api-1-2", "ArrowDown")).toBe("web-1-0");
    expect(to("web-1-0", "ArrowLeft", "ArrowLeft", "ArrowLeft", "ArrowLeft")).toBe("root");
    expect(to("api-1-0", "ArrowUp", "ArrowRight")).toBe("api-1-0");
    expect(to("web", "End")).toBe("config");
    expect(to("config", "ArrowRight")).toBe("web-1");
    expect(to("config", "Home")).toBe("root");
    expect(to("gone", "ArrowDown")).toBe("root");
  });
});

describe("the camera", () => {
  const frame = { width: 1000, height: 600, right: 0 };
  const box = { x: 300, y: 2_000, width: 236, height: 46 };

  it("keeps the point below the mouse when it zooms, within bounds", () => {
    const camera = zoomedAt({ x: 10, y: 20, zoom: 1 }, 1.5, { x: 400, y: 300 });
    expect((400 - camera.x) / camera.zoom).toBeCloseTo(390);
    expect((300 - camera.y) / camera.zoom).toBeCloseTo(280);
    expect(zoomedAt(camera, 100, { x: 0, y: 0 }).zoom).toBe(1.6);
  });

  it("shows what was walked to, large enough to read, and not below a panel", () => {
    const near = revealed({ x: 0, y: 0, zoom: 1 }, box, { ...frame, right: 500 });
    expect(near.x + box.x + box.width).toBeLessThanOrEqual(500);
    expect(near.y + box.y + box.height).toBeLessThanOrEqual(600);
    expect(revealed({ x: 0, y: 0, zoom: 0.1 }, box, frame).zoom).toBeGreaterThan(legible);
    const still = { x: 0, y: -1_800, zoom: 1 };
    expect(revealed(still, box, frame)).toBe(still);
  });

  it("leaves what one looks at where it is when the layout changes around it", () => {
    const before = { x: 40, y: -500, zoom: 0.8 };
    const moved = { ...box, y: box.y + 112 };
    const after = held(before, box, moved);
    expect(after.y + moved.y * after.zoom).toBeCloseTo(before.y + box.y * before.zoom);
  });

  it("begins with all of a small graph, and with the top of a large one", () => {
    expect(begun({ boxes: new Map(), width: 800, height: 300 }, frame).zoom).toBe(1);
    const large = begun({ boxes: new Map(), width: 1_100, height: 90_000 }, frame);
    expect(large.zoom).toBeGreaterThanOrEqual(0.8);
    expect(large.y).toBeGreaterThan(0);
  });
});

it("cuts long names before the end that tells them apart", () => {
  expect(parted("short")).toEqual(["short", ""]);
  expect(parted("payments-api-prod-7d9c5b6f4-x2v9k")).toEqual(["payments-api-prod-7d9c5b6f4", "-x2v9k"]);
  expect(parted("averyveryverylongnamewithoutanydash").join("")).toBe("averyveryverylongnamewithoutanydash");
});
