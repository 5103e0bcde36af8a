// An explanation as a path that one reads from top to bottom: from what is seen
// to the root of it.
import { keyOf } from "~/api/refs";
import type { Health, ObjectRef } from "~/gen/plumb/v1/common_pb";
import type { ExplainResponse } from "~/gen/plumb/v1/deliveries_pb";

export type Tone = "good" | "busy" | "warn" | "bad" | "idle";

export interface ChainStep {
  text: string;
  object?: ObjectRef;
  health?: Health;
  file: string;
  line: number;
  root: boolean; // where it has to be mended
}

const tones: Record<string, Tone> = { ok: "good", working: "busy", waiting: "warn", wrong: "bad", held: "warn", suspended: "idle", unknown: "idle" };

export function toneOf(state: string): Tone {
  return tones[state] ?? "idle";
}

const titles: Record<string, string> = { ok: "All is well", working: "At work", waiting: "It waits", wrong: "Why it is like this", held: "It waits for you", suspended: "Suspended", unknown: "Not known yet" };

export function titleOf(state: string): string {
  return titles[state] ?? "Why it is like this";
}

const cameWith = /^it came with commit /i;

// chainOf leaves out what repeats the headline or the step before it, and says
// which step is the root: the commit that it came with, which ends the chain, or
// else the last that names an object or a place. Where the steps are several
// objects beside each other, none of them is.
export function chainOf(explained: Pick<ExplainResponse, "headline" | "because" | "state">): ChainStep[] {
  const steps: ChainStep[] = [];
  for (const { text, object, health, file, line } of explained.because) {
    const words = text.trim();
    const before = steps.at(-1);
    const said = words === "" || explained.headline.includes(words);
    if ((said && !object && !file) || (before && before.text === words && keyOf(before.object) === keyOf(object))) continue;
    steps.push({ text: said ? "" : words, object, health, file, line, root: false });
  }
  steps.sort((a, b) => Number(cameWith.test(a.text)) - Number(cameWith.test(b.text)));
  const last = steps.findLast((step) => step.object || step.file || cameWith.test(step.text));
  if (last && explained.state !== "ok" && steps.length > 1) last.root = true;
  return steps;
}

// headOf parts a headline that is too long to be one into what happened and how.
export function headOf(headline: string): [head: string, rest: string] {
  const at = headline.indexOf(": ");
  return headline.length > 140 && at > 0 && at < 100 ? [headline.slice(0, at), headline.slice(at + 2)] : [headline, ""];
}

// isToldAbove says whether a banner says all that an explanation does.
export function isToldAbove(explained: Pick<ExplainResponse, "state" | "because" | "headline">): boolean {
  return (explained.state === "held" || explained.state === "suspended") && !chainOf(explained).some((step) => step.object || step.file);
}

// needsAttention says whether an explanation is the first thing to see.
export function needsAttention(state: string): boolean {
  return state !== "ok" && state !== "";
}
