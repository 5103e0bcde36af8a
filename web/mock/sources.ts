// The sources of the generated world, and all that is told of one.
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { keyOf, refOf } from "../src/api/refs";
import type { ObjectRef } from "../src/gen/plumb/v1/common_pb";
import type { Delivery } from "../src/gen/plumb/v1/deliveries_pb";
import { SourceSchema, type GetSourceResponseSchema, type Source } from "../src/gen/plumb/v1/fleet_pb";
import { lockedOut } from "./deliveries";
import { commits, people } from "./names";
import type { Fields } from "./query";
import { Random } from "./random";
import type { World } from "./world";

const day = 86_400_000;

export function generateSources(deliveries: readonly Delivery[], now: number): Source[] {
  const random = new Random("sources");
  const found = new Map<string, Source>();
  for (const d of deliveries) {
    if (!d.source) continue;
    const ref = d.source.ref ?? refOf({ version: "v1", kind: "Secret", namespace: "argocd", name: `repo-${d.labels.team}` });
    const source = found.get(keyOf(ref));
    if (source) source.readers++;
    else found.set(keyOf(ref), sourceFor(d, ref, random, now));
  }
  return [...found.values()];
}

function sourceFor(d: Delivery, ref: ObjectRef, random: Random, now: number): Source {
  const { kind } = ref;
  const broken = d.labels.team === lockedOut && kind === "GitRepository";
  // Argo CD's repositories are Secrets, which nobody suspends.
  const suspended = !broken && kind !== "Secret" && random.chance(0.06);
  const git = kind === "GitRepository" || kind === "Secret";
  const hash = random.hex(40);
  const fetched = now - (suspended ? day * (1 + random.upTo(6)) : broken ? 3_600_000 * (2 + random.upTo(9)) : random.upTo(600_000));
  const revisions: Record<string, string> = { GitRepository: `main@sha1:${hash}`, Secret: hash, OCIRepository: `latest@sha256:${random.hex(64)}`, HelmRepository: `sha256:${random.hex(64)}` };
  const reason = broken ? "GitOperationFailed" : "";
  const message = broken ? `failed to checkout and determine revision: authentication required: ${d.source!.url}` : "";
  return create(SourceSchema, {
    ref,
    dialect: d.dialect,
    url: d.source!.url,
    targetRevision: kind === "HelmRepository" ? "" : git ? "main" : "latest",
    revision: revisions[kind],
    commit: git ? { hash, subject: random.pick(commits).subject, author: random.pick(people), time: timestampFromMs(fetched - random.upTo(day)) } : undefined,
    health: { state: broken ? "Degraded" : suspended ? "Suspended" : "Healthy", reason, message },
    reason,
    message,
    suspended,
    fetched: timestampFromMs(fetched),
    readers: 1,
    labels: kind === "HelmRepository" ? {} : { team: d.labels.team ?? "" },
    created: timestampFromMs(now - day * (10 + random.upTo(300))),
  });
}

export const sourceFields: Fields<Source> = {
  facets: { dialect: (s) => s.dialect, kind: (s) => s.ref!.kind, namespace: (s) => s.ref!.namespace, health: (s) => s.health?.state ?? "Unknown", suspended: (s) => String(s.suspended) },
  order: { name: (s) => s.ref!.name, namespace: (s) => s.ref!.namespace, url: (s) => s.url, fetched: (s) => Number(s.fetched?.seconds ?? 0n), readers: (s) => s.readers, health: (s) => s.health?.state ?? "" },
  text: (s) => [s.ref!.name, s.ref!.namespace, s.ref!.kind, s.url, s.message].join(" ").toLowerCase(),
  labels: (s) => s.labels,
  worst: (s) => ({ Degraded: 3, Unknown: 2, Suspended: 1 })[s.health?.state ?? ""] ?? 0,
};

export function sourceOf(world: World, ref: ObjectRef | undefined, readOnly: boolean): MessageInitShape<typeof GetSourceResponseSchema> {
  const source = world.sources.find((s) => keyOf(s.ref) === keyOf(ref));
  if (!source) throw new ConnectError(`${ref?.kind} ${ref?.namespace}/${ref?.name} is not there`, Code.NotFound);
  const { kind, name } = source.ref!;
  const broken = source.health?.state === "Degraded";
  const secret = kind === "Secret";
  const permission = (allowed: boolean, reason: string) => ({ allowed: allowed && !readOnly, reason: readOnly ? `no rule lets viewer change ${kind} ${name}` : allowed ? "" : reason });
  const unpaused = "a repository of Argo CD has no suspension";
  return {
    source,
    fault: broken ? { reason: source.reason, message: source.message, advice: "renew the token in Secret flux-system/git-credentials", severity: "error" } : undefined,
    conditions: secret ? [] : [{ type: "Ready", status: broken ? "False" : "True", reason: broken ? source.reason : "Succeeded", message: broken ? source.message : `stored artifact for revision '${source.revision}'`, since: source.fetched }],
    readers: world.deliveries.filter((d) => (d.source?.ref ? keyOf(d.source.ref) === keyOf(ref) : secret && d.source?.url === source.url)).slice(0, 200),
    manifest: manifestOf(source),
    actions: { refresh: permission(true, ""), suspend: permission(!secret && !source.suspended, secret ? unpaused : "it is suspended already"), resume: permission(!secret && source.suspended, secret ? unpaused : "it is not suspended") },
    verified: kind === "GitRepository" && !broken ? "Ann Lee <ann@example.org>" : "",
  };
}

function manifestOf({ ref, url, suspended }: Source): string {
  const { kind, name, namespace } = ref!;
  if (kind === "Secret") return `apiVersion: v1\nkind: Secret\nmetadata:\n  name: ${name}\n  namespace: ${namespace}\n  labels:\n    argocd.argoproj.io/secret-type: repository\ntype: Opaque\ndata:\n  password: "***"\n  url: "***"\n  username: "***"\n`;
  const rest: Record<string, string> = {
    GitRepository: "  ref:\n    branch: main\n  secretRef:\n    name: git-credentials\n  verify:\n    mode: HEAD\n    secretRef:\n      name: signers\n",
    OCIRepository: "  ref:\n    tag: latest\n  secretRef:\n    name: registry-credentials\n",
  };
  return `apiVersion: source.toolkit.fluxcd.io/v1\nkind: ${kind}\nmetadata:\n  name: ${name}\n  namespace: ${namespace}\nspec:\n  interval: 1m\n${suspended ? "  suspend: true\n" : ""}  url: ${url}\n${rest[kind] ?? ""}`;
}
