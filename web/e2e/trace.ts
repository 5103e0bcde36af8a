// What a page's main thread costs, in CPU time: other work on the machine does
// not count, as it would by the clock.
import type { Page } from "playwright-core";

interface TraceEvent {
  name: string;
  ph: string;
  pid: number;
  tid: number;
  ts: number;
  tdur?: number;
  args?: { name?: string };
}

export interface Cost {
  longest: number; // ms of CPU of the longest task
  total: number; // ms of CPU of all tasks
}

// costOf runs something and says what it cost the page.
export async function costOf(page: Page, run: () => Promise<void>): Promise<Cost> {
  const session = await page.context().newCDPSession(page);
  const events: TraceEvent[] = [];
  session.on("Tracing.dataCollected", ({ value }) => events.push(...(value as unknown as TraceEvent[])));
  const complete = new Promise<void>((done) => session.once("Tracing.tracingComplete", () => done()));
  await session.send("Tracing.start", { transferMode: "ReportEvents", traceConfig: { includedCategories: ["disabled-by-default-devtools.timeline", "devtools.timeline"] } });
  await run();
  await session.send("Tracing.end");
  await complete;
  await session.detach();
  const mains = new Set(events.filter((e) => e.name === "thread_name" && e.args?.name === "CrRendererMain").map((e) => `${e.pid}/${e.tid}`));
  const tasks = events.filter((e) => e.name === "RunTask" && mains.has(`${e.pid}/${e.tid}`)).map((e) => (e.tdur ?? 0) / 1_000);
  return { longest: Math.max(0, ...tasks), total: tasks.reduce((sum, task) => sum + task, 0) };
}
