// References to objects: their keys, their names for people, and their addresses
// in the console.
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { ObjectRefSchema, type ObjectRef } from "~/gen/plumb/v1/common_pb";

export type RefLike = Pick<ObjectRef, "group" | "kind" | "namespace" | "name">;

// keyOf leaves the version out: an object is the same in each.
export function keyOf(ref: RefLike | undefined): string {
  return ref ? `${ref.group}/${ref.kind}/${ref.namespace}/${ref.name}` : "";
}

export function refOf(init: MessageInitShape<typeof ObjectRefSchema>): ObjectRef {
  return create(ObjectRefSchema, init);
}

const deliveryKinds: Record<string, { group: string; kind: string }> = {
  "flux-kustomization": { group: "kustomize.toolkit.fluxcd.io", kind: "Kustomization" },
  "flux-helmrelease": { group: "helm.toolkit.fluxcd.io", kind: "HelmRelease" },
  "argo-application": { group: "argoproj.io", kind: "Application" },
  "argo-applicationset": { group: "argoproj.io", kind: "ApplicationSet" },
};

const sourceGroup = "source.toolkit.fluxcd.io";

export type DeliveryTab = "overview" | "graph" | "diff" | "history" | "events" | "logs" | "manifest";

// kindSlug is the part of an address that says the dialect and kind of a delivery.
export function kindSlug(ref: RefLike): string | undefined {
  return Object.entries(deliveryKinds).find(([, k]) => k.group === ref.group && k.kind === ref.kind)?.[0];
}

export function deliveryPath(ref: RefLike, tab: DeliveryTab = "overview"): string {
  return `/deliveries/${kindSlug(ref)}/${part(ref.namespace)}/${part(ref.name)}/${tab}`;
}

export function deliveryFromPath(slug: string, namespace: string, name: string): ObjectRef | undefined {
  const kind = deliveryKinds[slug];
  return kind && refOf({ ...kind, namespace: plain(namespace), name: plain(name) });
}

// sourcePath has the group in front of the kind: repositories of Argo CD are Secrets.
export function sourcePath(ref: RefLike): string {
  return `/sources/${part(ref.group || "core")}/${part(ref.kind)}/${part(ref.namespace)}/${part(ref.name)}`;
}

export function sourceFromPath(group: string, kind: string, namespace: string, name: string): ObjectRef {
  const [g, k, ns, n] = [group, kind, namespace, name].map(plain) as [string, string, string, string];
  return refOf({ group: g === "core" ? "" : g, kind: k, namespace: ns, name: n });
}

// pathOf is where the console tells of an object; undefined where it has no page of its own.
export function pathOf(ref: RefLike | undefined): string | undefined {
  if (!ref) return undefined;
  if (kindSlug(ref)) return deliveryPath(ref);
  if (ref.group === sourceGroup) return sourcePath(ref);
  if (ref.group === "argoproj.io" && ref.kind === "AppProject") return `/projects?name=${part(ref.name)}`;
  return undefined;
}

// titleOf is "namespace/name", or the name alone of what lives in no namespace.
export function titleOf(ref: RefLike): string {
  return ref.namespace ? `${ref.namespace}/${ref.name}` : ref.name;
}

// An address has no empty parts: "-" stands for no namespace.
function part(text: string): string {
  return encodeURIComponent(text || "-");
}

function plain(text: string): string {
  return text === "-" ? "" : decodeURIComponent(text);
}
