// What was delivered before in the generated world.
import { create } from "@bufbuild/protobuf";
import { timestampDate, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { keyOf } from "../src/api/refs";
import { ChangeSchema, CommitSchema } from "../src/gen/plumb/v1/common_pb";
import { GetHistoryResponseSchema, type Delivery } from "../src/gen/plumb/v1/deliveries_pb";
import { messageOf } from "./deliveries";
import { commits, failures, people, type Kind } from "./names";
import { partsOf } from "./parts";
import { Random } from "./random";
import { faultOf } from "./story";

const hour = 3_600_000;

// historyOf goes from what is delivered now to what was before it.
export function historyOf(d: Delivery, readOnly: boolean) {
  const random = new Random(`history${keyOf(d.ref)}`);
  const { kind } = d.ref!;
  const chart = kind === "HelmRelease";
  // An operation of Argo CD ends when all is applied; whether it is healthy then is another matter.
  const stops = kind === "Application" ? "apply" : "settle";
  const usual = failures.find((f) => f.kinds.includes(kind as Kind) && f.phase === stops) ?? failures.at(-1)!;
  const now = faultOf(d);
  const stopped = !!now && !now.waiting && !(kind === "Application" && d.phase === "settle");
  const created = timestampDate(d.created!).getTime();
  let at = timestampDate(d.changed!).getTime();
  let last = Math.max(0, commits.findIndex((c) => c.subject === d.commit?.subject));
  let version = d.revision.split(".").map(Number);
  const entries = [];
  for (let i = 0; i < 18 && at > created && kind !== "ApplicationSet"; i++) {
    const first = i === 0;
    if (!first) last = (last + 1 + random.upTo(commits.length - 1)) % commits.length;
    const { subject, touches } = commits[last]!;
    const hash = random.hex(40);
    const failed = first ? stopped : random.chance(0.1);
    const revision = chart ? version.join(".") : first ? d.revision : d.dialect === "flux" ? `main@sha1:${hash}` : hash;
    const author = random.pick(people);
    // What a stage before applying has stopped changed nothing.
    const touched = failed && first && d.phase !== "settle" ? [] : partsOf(d).filter((p) => (chart ? p.image !== "" : (touches as readonly string[]).includes(p.object.kind))).slice(0, chart ? 6 : 2);
    entries.push({
      id: `h${i}`,
      time: timestampFromMs(at),
      revision,
      commit: chart ? undefined : first ? d.commit : create(CommitSchema, { hash, subject, author, time: timestampFromMs(at - 90_000) }),
      result: !failed ? "Succeeded" : first ? now!.reason : usual.reason,
      failed,
      message: !failed ? "" : first ? now!.message : messageOf(usual, d),
      actor: random.chance(0.25) || d.automation === "manual" ? random.pick(people).replace(/.*<(.*)>/, "$1") : "",
      changes: touched.map(({ object }) => create(ChangeSchema, { object, verb: "apply", why: "its desired state changed" })),
      chart: chart ? d.source?.chart : "",
      chartVersion: chart ? revision : "",
      canRollback: rollback(kind, first, failed, readOnly),
    });
    at -= Math.round(hour * (2 + 60 * random.next()));
    version = before(version);
  }
  return create(GetHistoryResponseSchema, { entries });
}

// before is the version of a chart before another.
function before([major = 1, minor = 0, patch = 0]: number[]): number[] {
  if (patch > 0) return [major, minor, patch - 1];
  return minor > 0 ? [major, minor - 1, 4] : [Math.max(0, major - 1), 9, 2];
}

function rollback(kind: string, first: boolean, failed: boolean, readOnly: boolean) {
  if (kind !== "Application" || failed) return { allowed: false, reason: "only a sync of an Application that it keeps in its history can be gone back to" };
  if (first) return { allowed: false, reason: "it is what is delivered now" };
  return { allowed: !readOnly, reason: readOnly ? "no rule lets viewer rollback this Application" : "" };
}
