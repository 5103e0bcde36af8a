import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { Delivery, StreamLogsRequest } from "../src/gen/plumb/v1/deliveries_pb";
import { nodesOf } from "./objects";
import { Random } from "./random";

const lines = ["GET /healthz 200 0.4ms", "GET /api/orders?page=2 200 18ms", "connected to postgres at db.internal:5432", "cache miss for key session:9f2c", "WARN slow query: 812ms select * from orders", "worker 3 took job 82113", "POST /api/orders 201 74ms", "{\"level\":\"info\",\"msg\":\"reloaded configuration\",\"took\":\"12ms\"}"];
// What a container says that does not find its configuration, each time that it starts.
const dying = ["reading /etc/app/app.yaml", "connecting to the database", "ERROR DATABASE_URL is not set", "exiting with 1"];

// logLines writes lines of the Pods of an object, and one more every so often while followed.
export async function* logLines(d: Delivery, request: StreamLogsRequest, signal: AbortSignal) {
  const random = new Random(request.object?.name ?? d.ref!.name);
  const nodes = nodesOf(d).filter((n) => n.object!.kind === "Pod" && (request.object?.kind !== "Pod" || n.object!.name === request.object.name)).slice(0, 3);
  const pods = nodes.map((n) => n.object!.name);
  const line = (time: number, pod: string, text: string) => ({ time: timestampFromMs(time), pod, container: request.container || "app", text });
  if (nodes.length === 1 && nodes[0]!.status === "CrashLoopBackOff") {
    const last = Date.now() - 140_000;
    yield { lines: dying.map((text, i) => line(last + i * 31, pods[0]!, text)), pods };
    return;
  }
  const any = (time: number) => line(time, random.pick(pods), random.pick(lines));
  if (pods.length === 0) return;
  const count = Math.min(request.tailLines || 500, 2_000);
  yield { lines: Array.from({ length: count }, (_, i) => any(Date.now() - (count - i) * 900)), pods };
  while (request.follow && !signal.aborted) {
    await new Promise((done) => setTimeout(done, 400 + random.upTo(900)));
    yield { lines: [any(Date.now())] };
  }
}
