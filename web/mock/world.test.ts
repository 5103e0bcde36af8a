// The generated world has to be one that could be: what is seen in pictures of it
// is taken for what Plumb shows.
import { expect, test } from "vitest";
import { keyOf } from "../src/api/refs";
import { detailOf, diffOf } from "./details";
import { clusters, failures } from "./names";
import { nodesOf, resourcesOf } from "./objects";
import { historyOf } from "./past";
import { explain } from "./story";
import { World } from "./world";

const now = Date.UTC(2026, 0, 1);
const world = new World(1_200, now);

test("nothing fails in the words of another kind", () => {
  for (const d of world.deliveries) {
    const failure = failures.find((f) => f.reason === d.reason);
    if (failure) expect([d.ref!.kind, d.reason, failure.kinds.includes(d.ref!.kind as never)]).toEqual([d.ref!.kind, d.reason, true]);
  }
});

test("what differs is what the diff and the sync tell, in fields that its kind has", () => {
  const drifted = world.deliveries.filter((d) => d.outOfSync > 0 && !d.hold && d.health?.state !== "Missing");
  expect(drifted.length).toBeGreaterThan(3);
  for (const d of drifted) {
    const { objects } = diffOf(d, undefined, false);
    expect(objects).toHaveLength(d.outOfSync);
    for (const { object, live, desired } of objects) {
      const fields = desired.split("\n").filter((line, i) => line !== live.split("\n")[i]);
      expect([object!.kind, fields]).toEqual(object!.kind === "ConfigMap" ? ["ConfigMap", ["  LOG_LEVEL: info"]] : ["Deployment", [expect.stringMatching(/^ {2}replicas: \d+$/)]]);
    }
  }
});

test("an ApplicationSet makes Applications of its own team, and no other kinds", () => {
  const made = world.deliveries.filter((d) => d.madeBy);
  expect(made.length).toBeGreaterThan(20);
  for (const d of made) expect([d.ref!.kind, d.madeBy!.name]).toEqual(["Application", `${d.labels.team}-fleet`]);
  for (const d of made) expect(d.project).toBe(d.labels.team);
});

test("rows, resources and graph agree on how many objects there are", () => {
  for (const d of world.deliveries.slice(0, 300)) {
    if (d.ref!.kind === "ApplicationSet") continue;
    const resources = resourcesOf(d);
    expect([d.ref!.name, resources.length]).toEqual([d.ref!.name, d.objects]);
    expect(resources.filter((r) => r.sync === "OutOfSync")).toHaveLength(d.outOfSync);
    expect(new Set(nodesOf(d).map((n) => n.id)).size).toBe(nodesOf(d).length);
  }
});

test("times and revisions fit", () => {
  for (const d of world.deliveries.slice(0, 300)) {
    const { entries } = historyOf(d, false);
    const times = entries.map((e) => Number(e.time!.seconds));
    expect(times).toEqual([...times].sort((a, b) => b - a));
    if (entries[0]) expect([entries[0].revision, entries[0].commit?.subject]).toEqual([d.revision, d.commit?.subject]);
    if (d.commit) expect(d.commit.time!.seconds).toBeLessThanOrEqual(d.changed!.seconds);
    expect(clusters.some((c) => c.name === d.cluster)).toBe(true);
    expect(explain(world, d, undefined).headline).toContain(d.ref!.name);
  }
});

test("repositories are those of the team that reads them", () => {
  for (const s of world.sources) if (s.labels.team) expect(s.url).toContain(`/${s.labels.team}/`);
});

test("what is told in detail never has a secret, and a parameter where there is one", () => {
  for (const d of world.deliveries.slice(0, 200)) {
    const detail = detailOf(world, d, false);
    if (d.ref!.kind !== "ApplicationSet") expect(detail.parameters.length).toBeGreaterThan(0);
    expect(detail.manifest).toContain(`name: ${d.ref!.name}`);
    expect(detail.resources.map((r) => keyOf(r.object))).toHaveLength(d.objects);
  }
});
