import { create } from "@bufbuild/protobuf";
import { beforeEach, expect, test } from "vitest";
import { everything } from "~/api/query";
import { keyOf } from "~/api/refs";
import type { Delivery } from "~/gen/plumb/v1/deliveries_pb";
import { DeliverySchema, WatchDeliveriesResponseSchema } from "~/gen/plumb/v1/deliveries_pb";
import { World } from "../../../mock/world";
import { mockApi } from "../../../test/show";
import { DeliveryList } from "./list";
import { Slots } from "./slots";

let world: World;
let list: DeliveryList;
const listOf = (query = everything, group = "") => new DeliveryList(mockApi(world), query, group, []);
const tell = (changed: Delivery[], removed: Delivery[] = [], total = 200) =>
  list.apply(create(WatchDeliveriesResponseSchema, { changed, removed: removed.map((d) => d.ref!), totalSize: total, revision: "next" }));

beforeEach(async () => {
  world = new World(200, Date.UTC(2026, 0, 1));
  list = listOf();
  await list.load();
});

test("the first page comes with the list, others when they are seen", async () => {
  const rows = () => list.state.segments[0]!.rows;
  expect(list.state.total).toBe(200);
  expect(rows().filter(Boolean)).toHaveLength(60);
  const slots = new Slots(list.state.segments, false);
  slots.see(list, 130, 150);
  await expect.poll(() => rows()[130]).toBeDefined();
  expect(rows()[100]).toBeUndefined();
});

test("a change replaces its row where it stands", () => {
  const before = list.state.segments[0]!.rows[7]!;
  tell([create(DeliverySchema, { ref: before.ref, message: "something new" })]);
  expect(list.state.segments[0]!.rows[7]!.message).toBe("something new");
  expect(list.state.moved).toBe(0);
  expect(list.since()).toBe("next");
});

test("a row that goes stays in its place, marked, until the list is asked for again", async () => {
  const gone = list.state.segments[0]!.rows[3]!;
  tell([], [gone], 199);
  const row = list.state.segments[0]!.rows[3]!;
  expect(keyOf(row.ref)).toBe(keyOf(gone.ref));
  expect(list.isGone(row)).toBe(true);
  expect(list.state.moved).toBe(1);
  world.remove(world.delivery(gone.ref)!);
  await list.load();
  expect(list.state.moved).toBe(0);
  expect(list.state.segments[0]!.rows.some((r) => keyOf(r?.ref) === keyOf(gone.ref))).toBe(false);
});

test("rows that were never seen may be told to be gone", () => {
  tell([], [create(DeliverySchema, { ref: { kind: "Kustomization", name: "nobody-knows" } })]);
  expect(list.state.moved).toBe(0);
});

test("groups are those of the facets, in the order of how much they need somebody", async () => {
  list = listOf(everything, "health");
  await list.load();
  const values = list.state.segments.map((s) => s.value);
  expect(values[0]).toBe("Degraded");
  expect(values.at(-1)).toBe("Healthy");
  const slots = new Slots(list.state.segments, true);
  expect(slots.at(0)).toEqual({ segment: list.state.segments[0], index: -1 });
  slots.see(list, 0, 5);
  await expect.poll(() => list.state.segments[0]!.rows[0]?.health?.state).toBe("Degraded");
});

test("a group that is closed keeps its heading alone", async () => {
  list = listOf(everything, "dialect");
  await list.load();
  const open = new Slots(list.state.segments, true).count;
  list.toggle(list.state.segments[0]!);
  expect(new Slots(list.state.segments, true).count).toBe(open - list.state.segments[0]!.total);
});

test("a label selector that cannot be read is told as trouble", async () => {
  const api = mockApi(world);
  api.deliveries.listDeliveries = () => Promise.reject(new Error("label_selector: unable to parse"));
  list = new DeliveryList(api, { ...everything, labels: "a in (" }, "", []);
  await list.load();
  expect(list.state.ready).toBe(false);
  expect(list.state.trouble?.detail).toContain("unable to parse");
});
