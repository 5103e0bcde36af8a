import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { refOf } from "~/api/refs";
import { DeliverySchema, type Delivery } from "~/gen/plumb/v1/deliveries_pb";
import { saidOf } from "./said";

const row = (more: object = {}): Delivery => create(DeliverySchema, { ref: refOf({ kind: "HelmRelease", namespace: "shop", name: "front" }), health: { state: "Healthy" }, sync: "Synced", phase: "done", ...more });
const commit = { hash: "0123456789abcdef0123456789abcdef01234567", subject: "Open the shop", author: "Ann Lee <ann@example.org>" };

test("of what is well, a row says what is delivered, and never a phase", () => {
  expect(saidOf(row({ commit }))).toEqual({ head: "Open the shop", detail: "01234567 · Ann Lee", well: true });
  expect(saidOf(row({ shortRevision: "3.2.1" }))).toEqual({ head: "3.2.1", detail: "", well: true });
  expect(saidOf(row({ revision: `latest@sha256:${"ab".repeat(32)}` })).head).toBe("latest@abababab");
  expect(saidOf(row())).toEqual({ head: "Up to date", detail: "", well: true });
});

test("of what is not, it says why", () => {
  expect(saidOf(row({ reason: "UpgradeFailed", message: "no such image" }))).toEqual({ head: "UpgradeFailed", detail: "no such image", well: false });
  expect(saidOf(row({ running: true, message: "applying" })).head).toBe("Progressing");
  expect(saidOf(row({ sync: "OutOfSync", outOfSync: 1, automation: "manual", commit }))).toEqual({ head: "1 object differs", detail: "waits for a sync", well: false });
  expect(saidOf(row({ sync: "OutOfSync", outOfSync: 3 })).head).toBe("3 objects differ");
  expect(saidOf(row({ automation: "suspended", commit }))).toEqual({ head: "Suspended", detail: "Open the shop", well: false });
  expect(saidOf(row({ health: { state: "Missing", message: "it was never synced" } }))).toEqual({ head: "Missing", detail: "it was never synced", well: false });
});
