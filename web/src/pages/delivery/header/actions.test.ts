import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { refOf } from "~/api/refs";
import { DeliverySchema, GetDeliveryResponseSchema, type Delivery } from "~/gen/plumb/v1/deliveries_pb";
import { offersOf, permissionOf, wordOf } from "./actions";
import { stepsOf } from "./phases";

const flux = (more: object = {}): Delivery => create(DeliverySchema, { dialect: "flux", ref: refOf({ group: "kustomize.toolkit.fluxcd.io", kind: "Kustomization", namespace: "flux-system", name: "apps" }), ...more });
const argo = (more: object = {}): Delivery => create(DeliverySchema, { dialect: "argo", ref: refOf({ group: "argoproj.io", kind: "Application", namespace: "argocd", name: "shop" }), ...more });
const detail = (more: object = {}) => create(GetDeliveryResponseSchema, { actions: { sync: { allowed: true }, delete: { allowed: false, reason: "viewer may not delete" }, object_action: { allowed: true }, logs: { allowed: false, reason: "no" } }, ...more });
const names = (offers: { name: string }[]) => offers.map((o) => o.name);

describe("what is offered", () => {
  it("fits the dialect and what goes on", () => {
    expect(names(offersOf(flux(), detail()).buttons)).toEqual(["sync", "refresh"]);
    expect(names(offersOf(flux(), detail()).more)).toEqual(["suspend", "delete"]);
    expect(names(offersOf(flux({ suspended: true, hold: { token: "t" } }), detail()).more)).toEqual(["resume", "approve", "delete"]);
    expect(names(offersOf(argo(), detail({ operation: { phase: "Running" }, quarantined: "abc" })).more)).toEqual(["suspend", "terminate", "lift", "delete"]);
    expect(names(offersOf(flux({ running: true }), detail()).more)).not.toContain("terminate");
  });

  it("leaves out of an ApplicationSet what makes no sense for one", () => {
    const set = create(DeliverySchema, { dialect: "argo", ref: refOf({ group: "argoproj.io", kind: "ApplicationSet", namespace: "argocd", name: "shops" }) });
    expect(names(offersOf(set, detail()).buttons)).toEqual(["refresh"]);
    expect(names(offersOf(set, detail()).more)).toEqual(["delete"]);
  });

  it("keeps what is not allowed, with the reason", () => {
    const offer = offersOf(flux(), detail()).more.find((o) => o.name === "delete")!;
    expect(offer.permission).toMatchObject({ allowed: false, reason: "viewer may not delete" });
    expect(permissionOf("logs", detail())!.allowed).toBe(false);
  });

  it("offers nothing that can be pressed before the permissions are known", () => {
    const { buttons, more } = offersOf(flux(), undefined);
    expect([...buttons, ...more].every((o) => o.permission === undefined)).toBe(true);
  });

  it("reads permissions by both spellings of their names", () => {
    expect(permissionOf("objectAction", detail())!.allowed).toBe(true);
    expect(permissionOf("objectAction", create(GetDeliveryResponseSchema, { actions: { objectAction: { allowed: true } } }))!.allowed).toBe(true);
  });

  it("calls things as people of the dialect do", () => {
    expect([wordOf("sync", flux()), wordOf("sync", argo()), wordOf("suspend", flux())]).toEqual(["Reconcile", "Sync", "Suspend"]);
    expect([wordOf("suspend", argo()), wordOf("resume", argo())]).toEqual(["Disable auto-sync", "Enable auto-sync"]);
  });
});

describe("phases", () => {
  it("tell how far a run came, and how it stands there", () => {
    expect(stepsOf(flux({ phase: "apply", running: true }))).toEqual(["done", "done", "done", "done", "now", "ahead", "ahead"]);
    expect(stepsOf(flux({ phase: "render", health: { state: "Degraded" } })).slice(0, 3)).toEqual(["done", "stopped", "ahead"]);
    expect(stepsOf(flux({ phase: "gate", health: { state: "Unknown" } }))[2]).toBe("waits");
    expect(new Set(stepsOf(flux({ phase: "done" })))).toEqual(new Set(["done"]));
    expect(new Set(stepsOf(flux({ phase: "" })))).toEqual(new Set(["ahead"]));
  });
});
