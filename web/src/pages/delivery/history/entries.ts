// History as a timeline: by days, with the same thing said again and again told once.
import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { HistoryEntry } from "~/gen/plumb/v1/deliveries_pb";

export interface Told {
  entry: HistoryEntry; // the newest of them
  times: number;
  first: HistoryEntry; // the oldest
}

export interface Day {
  day: string; // "2026-01-31", by the clock of the reader
  told: Told[];
}

// folded puts runs together that changed nothing and ended alike one after another.
export function folded(entries: readonly HistoryEntry[]): Told[] {
  const told: Told[] = [];
  for (const entry of entries) {
    const last = told.at(-1);
    const alike = last && !last.entry.actor && !entry.actor && last.entry.revision === entry.revision && last.entry.result === entry.result && last.entry.message === entry.message && last.entry.changes.length === 0 && entry.changes.length === 0 && !entry.canRollback?.allowed && !last.entry.canRollback?.allowed;
    if (alike) {
      last.times++;
      last.first = entry;
    } else told.push({ entry, times: 1, first: entry });
  }
  return told;
}

// ending is how a run ended, in a word and as a state. A run that left objects on
// their way is written down as it was then: only the newest can still be at it.
export function ending(entry: Pick<HistoryEntry, "failed" | "result">, atIt: boolean): { word: string; state: string } {
  if (entry.failed) return { word: entry.result, state: "Degraded" };
  if (entry.result === "Progressing") return atIt ? { word: "Progressing", state: "Progressing" } : { word: "Applied", state: "" };
  if (entry.result === "Requested") return { word: "Requested", state: "" };
  return { word: entry.result || "Delivered", state: "Healthy" };
}

export function byDays(told: readonly Told[]): Day[] {
  const days: Day[] = [];
  for (const one of told) {
    const day = one.entry.time ? dayOf(timestampDate(one.entry.time)) : "";
    if (days.at(-1)?.day === day) days.at(-1)!.told.push(one);
    else days.push({ day, told: [one] });
  }
  return days;
}

export function dayOf(date: Date): string {
  return `${date.getFullYear()}-${String(date.getMonth() + 1).padStart(2, "0")}-${String(date.getDate()).padStart(2, "0")}`;
}

export function dayWords(day: string, now = new Date()): string {
  if (day === "") return "At a time unknown";
  if (day === dayOf(now)) return "Today";
  if (day === dayOf(new Date(now.getFullYear(), now.getMonth(), now.getDate() - 1))) return "Yesterday";
  const [year, month, date] = day.split("-").map(Number) as [number, number, number];
  return new Date(year, month - 1, date).toLocaleDateString("en-GB", { weekday: "long", day: "numeric", month: "long", ...(year !== now.getFullYear() && { year: "numeric" }) });
}
