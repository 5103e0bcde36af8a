import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { Delivery, StreamLogsRequest } from "../src/gen/plumb/v1/deliveries_pb";
import { nodesOf } from "./objects";
import { Random } from "./random";

const lines = ["GET /healthz 200 0.4ms", "GET /api/orders?page=2 200 18ms", "connected to postgres at db.internal:5432", "cache miss for key session:9f2c", "WARN slow query: 812ms select * from orders", "ERROR DATABASE_URL is not set", "worker 3 took job 82113", "POST /api/checkout 201 74ms", "{\"level\":\"info\",\"msg\":\"reloaded configuration\",\"took\":\"12ms\"}"];

// logLines writes lines of the Pods of an object, and one more every so often while followed.
export async function* logLines(d: Delivery, request: StreamLogsRequest, signal: AbortSignal) {
  const random = new Random(request.object?.name ?? d.ref!.name);
  const pods = nodesOf(d).filter((n) => n.object!.kind === "Pod" && (request.object?.kind !== "Pod" || n.object!.name === request.object.name)).map((n) => n.object!.name).slice(0, 3);
  const count = Math.min(request.tailLines || 500, 2_000);
  const line = (time: number) => ({ time: timestampFromMs(time), pod: pods.length > 0 ? random.pick(pods) : "pod-0", container: request.container || "app", text: random.pick(lines) });
  yield { lines: Array.from({ length: count }, (_, i) => line(Date.now() - (count - i) * 900)) };
  while (request.follow && !signal.aborted) {
    await new Promise((done) => setTimeout(done, 400 + random.upTo(900)));
    yield { lines: [line(Date.now())] };
  }
}
