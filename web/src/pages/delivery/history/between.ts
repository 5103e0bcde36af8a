// What changed between two entries of the history.
import type { Change, Commit, ObjectRef } from "~/gen/plumb/v1/common_pb";
import type { HistoryEntry } from "~/gen/plumb/v1/deliveries_pb";
import { keyOf } from "~/api/refs";

export interface Touched {
  object: ObjectRef;
  verb: string; // what became of it in the end
  times: number;
  changes: Change[]; // oldest first
}

export interface Between {
  from: HistoryEntry; // the older one
  to: HistoryEntry;
  runs: number; // that changed something, after from and up to to
  failed: number; // of all in between
  commits: Commit[]; // newest first
  objects: Touched[];
  omitted: number; // changes that are not kept
}

// idOf tells entries apart; the time does for those of which there is no other.
export function idOf(entry: HistoryEntry): string {
  return entry.time ? `${entry.time.seconds}.${entry.time.nanos}` : entry.id;
}

// between takes the entries as the server lists them, newest first.
export function between(entries: readonly HistoryEntry[], one: string, other: string): Between | undefined {
  const [b, a] = [entries.findIndex((e) => idOf(e) === one), entries.findIndex((e) => idOf(e) === other)].sort((x, y) => x - y) as [number, number];
  if (b < 0 || a === b) return undefined;
  const runs = entries.slice(b, a);
  const objects = new Map<string, Touched>();
  for (const run of [...runs].reverse())
    for (const change of run.changes) {
      if (!change.object) continue;
      const key = keyOf(change.object);
      const before = objects.get(key);
      const verb = before ? joined(before.verb, change.verb) : change.verb;
      objects.set(key, { object: change.object, verb, times: (before?.times ?? 0) + 1, changes: [...(before?.changes ?? []), change] });
    }
  const commits = new Map<string, Commit>();
  for (const { commit } of runs) if (commit?.hash && commit.hash !== entries[a]!.commit?.hash) commits.set(commit.hash, commit);
  return {
    from: entries[a]!,
    to: entries[b]!,
    runs: runs.filter((run) => run.changes.length > 0 || run.omitted > 0).length,
    failed: runs.filter((run) => run.failed).length,
    commits: [...commits.values()],
    objects: [...objects.values()].sort((x, y) => keyOf(x.object).localeCompare(keyOf(y.object))),
    omitted: runs.reduce((sum, run) => sum + run.omitted, 0),
  };
}

// joined is what two changes after each other come to.
function joined(first: string, second: string): string {
  if (second === "apply") return first === "create" || first === "recreate" || first === "adopt" ? first : "apply";
  if (first === "delete" && second === "create") return "recreate";
  if (first === "create" && second === "delete") return "gone again";
  return second;
}
