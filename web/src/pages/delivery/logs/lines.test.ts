import { create } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import { refOf } from "~/api/refs";
import { GetObjectResponseSchema, LogLineSchema, NodeSchema } from "~/gen/plumb/v1/deliveries_pb";
import { added, asText, levelOf, matching, shortPods } from "./lines";
import { readableOf } from "./choices";
import { withLogs } from "./LogsTab";

const line = (text: string, pod = "api-1-a") => create(LogLineSchema, { text, pod, time: { seconds: 1_700_000_000n, nanos: 5_000_000 } });

it("keeps the newest lines, whatever came", () => {
  const first = added([], [line("a"), line("b")], 3);
  const second = added(first, [line("c"), line("d")], 3);
  expect(second.map((l) => [l.id, l.text])).toEqual([[1, "b"], [2, "c"], [3, "d"]]);
  expect(added(second, Array.from({ length: 9 }, (_, i) => line(String(i))), 3).map((l) => l.text)).toEqual(["6", "7", "8"]);
  expect(first).toHaveLength(2);
});

it("leaves out the colours of terminals", () => expect(added([], [line("\u001b[31mred\u001b[0m\r")])[0]!.text).toBe("red"));

it("reads levels", () => {
  expect(["ERROR it broke", '{"level":"warn","msg":"x"}', "level=error msg=x", "E1121 13:00:00 x", "GET /errors 200", "all is well"].map(levelOf)).toEqual(["error", "warn", "error", "error", "", ""]);
});

it("finds, and writes what it found", () => {
  const lines = added([], [line("GET /a"), line("POST /b", "api-1-b")]);
  expect(matching(lines, "post").map((l) => l.text)).toEqual(["POST /b"]);
  expect(matching(lines, "1-b")).toHaveLength(1);
  expect(asText(lines, { pods: true, containers: false })).toBe("2023-11-14T22:13:20.005Z api-1-a GET /a\n2023-11-14T22:13:20.005Z api-1-b POST /b\n");
});

it("names Pods by what tells them apart", () => {
  expect([...shortPods(["api-7d9-x2v9k", "api-7d9-x2abc"]).values()]).toEqual(["x2v9k", "x2abc"]);
  expect([...shortPods(["api-7d9-x2v9k"]).values()]).toEqual(["api-7d9-x2v9k"]);
});

it("offers what is broken first, and no ReplicaSets", () => {
  const node = (kind: string, name: string, state: string, logs = true) => create(NodeSchema, { id: name, object: refOf({ kind, name }), logs, health: { state } });
  expect(withLogs([node("Deployment", "a", "Healthy"), node("Pod", "p", "Degraded"), node("ReplicaSet", "r", "Degraded"), node("ConfigMap", "c", "Healthy", false)]).map((n) => n.id)).toEqual(["p", "a"]);
});

it("knows of which containers there is something to read", () => {
  const pod = (name: string, restarts: number) => ({ object: { kind: "Pod", name }, status: "Running", containers: [{ name: "migrate", kind: "init" }, { name: "app", kind: "container", default: true, restarts, previous: restarts > 0, reason: restarts > 0 ? "CrashLoopBackOff" : "" }] });
  const about = create(GetObjectResponseSchema, { pods: [pod("a", 2), pod("b", 0)] });
  const both = readableOf(about, "", "");
  expect(both.containers).toEqual([{ name: "migrate", kind: "init", note: "init" }, { name: "app", kind: "container", note: "CrashLoopBackOff · 2 restarts" }]);
  expect([both.usual, both.previous, both.pods.length]).toEqual(["app", true, 2]);
  expect(readableOf(about, "b", "").previous).toBe(false);
  expect(readableOf(about, "", "migrate").previous).toBe(false);
  expect(readableOf(create(GetObjectResponseSchema, { containers: ["only"] }), "", "")).toMatchObject({ usual: "only", previous: true });
});
