import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { everything } from "~/api/query";
import { ClusterSchema } from "~/gen/plumb/v1/fleet_pb";
import { ordered } from "./order";

const clusters = [
  create(ClusterSchema, { name: "calm", deliveries: 30, health: { state: "Healthy" }, labels: { region: "eu" } }),
  create(ClusterSchema, { name: "busy", deliveries: 10, unhealthy: 4, health: { state: "Healthy" } }),
  create(ClusterSchema, { name: "gone", deliveries: 20, health: { state: "Degraded", message: "i/o timeout" } }),
];
const names = (query: Partial<typeof everything>) => ordered(clusters, { ...everything, ...query }).map((c) => c.name);

test("what cannot be reached comes first, then where most is wrong", () => {
  expect(names({})).toEqual(["gone", "busy", "calm"]);
});

test("another order is the one that was asked for", () => {
  expect(names({ order: "deliveries desc" })).toEqual(["calm", "gone", "busy"]);
  expect(names({ order: "name" })).toEqual(["busy", "calm", "gone"]);
  expect(names({ order: "health" })).toEqual(["gone", "busy", "calm"]);
});

test("words are looked for in labels and messages too, and all of them count", () => {
  expect(names({ search: "region=EU" })).toEqual(["calm"]);
  expect(names({ search: "timeout gone" })).toEqual(["gone"]);
  expect(names({ search: "timeout calm" })).toEqual([]);
});
