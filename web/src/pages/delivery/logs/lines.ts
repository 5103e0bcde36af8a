// Lines of logs, as they are kept and shown.
import type { LogLine } from "~/gen/plumb/v1/deliveries_pb";

export interface Line {
  id: number; // in the order of their coming
  time?: Date;
  pod: string;
  container: string;
  text: string;
  level: "error" | "warn" | "";
}

export const bound = 20_000;

// added keeps the newest of what was there and what came.
export function added(before: readonly Line[], came: readonly LogLine[], most = bound): Line[] {
  let id = (before.at(-1)?.id ?? -1) + 1;
  const lines = came.map((line): Line => ({
    id: id++,
    time: line.time && new Date(Number(line.time.seconds) * 1000 + line.time.nanos / 1e6),
    pod: line.pod,
    container: line.container,
    text: plain(line.text),
    level: levelOf(line.text),
  }));
  const all = before.length + lines.length > most ? before.slice(before.length + lines.length - most) : before;
  return [...all, ...lines.slice(-most)];
}

// levelOf reads the level from the beginning of a line, or from its JSON.
export function levelOf(text: string): Line["level"] {
  const named = /"(?:level|severity|lvl)"\s*:\s*"(\w+)"/i.exec(text)?.[1] ?? /\b(?:level|lvl)=(\w+)/i.exec(text)?.[1] ?? /\b(ERROR|ERR|FATAL|PANIC|CRITICAL|WARN|WARNING)\b/.exec(text.slice(0, 80))?.[1] ?? /^([EFW])\d{4} /.exec(text)?.[1] ?? "";
  if (/^(error|err|fatal|panic|critical|e|f)$/i.test(named)) return "error";
  return /^(warn|warning|w)$/i.test(named) ? "warn" : "";
}

// plain leaves out the colours of terminals.
function plain(text: string): string {
  return text.replace(/\u001b\[[0-9;?]*[A-Za-z]/g, "").replace(/\r$/, "");
}

export function matching(lines: readonly Line[], search: string): readonly Line[] {
  if (!search) return lines;
  const words = search.toLowerCase();
  return lines.filter((line) => line.text.toLowerCase().includes(words) || line.pod.toLowerCase().includes(words));
}

// asText is what is downloaded; where says which parts tell lines apart.
export function asText(lines: readonly Line[], where: { pods: boolean; containers: boolean }): string {
  return lines.map((line) => [line.time?.toISOString(), where.pods && line.pod, where.containers && line.container, line.text].filter(Boolean).join(" ")).join("\n") + "\n";
}

// shortPods names Pods by what tells them apart.
export function shortPods(pods: readonly string[]): Map<string, string> {
  let shared = pods.length > 1 ? (pods[0] ?? "") : "";
  for (const pod of pods) while (!pod.startsWith(shared)) shared = shared.slice(0, -1);
  const cut = shared.lastIndexOf("-") + 1;
  return new Map(pods.map((pod) => [pod, pods.length > 1 ? pod.slice(cut) : pod]));
}
