// The logs of one object of the delivery; at first of the one that needs it most.
import { useMemo } from "react";
import { keyOf } from "~/api/refs";
import { useCall } from "~/api/useCall";
import type { ObjectRef, Permission } from "~/gen/plumb/v1/common_pb";
import type { Node } from "~/gen/plumb/v1/deliveries_pb";
import { Button } from "~/parts/button/Button";
import { ChoiceMenu } from "~/parts/menu/Menu";
import { HealthMark } from "~/parts/state/State";
import { Empty, Skeleton, TroubleState } from "~/parts/states/States";
import { useAddress, type Address } from "../address";
import { compareNodes, healthOf } from "../graph/shape";
import type { Graph } from "../graph/useGraph";
import { LogView, usual, type LogOptions } from "./LogView";
import styles from "./Logs.module.css";

const badness = ["Degraded", "Missing", "Progressing", "Unknown"];

// withLogs lists what has logs: what is wrong first, and workloads before their Pods.
export function withLogs(nodes: Iterable<Node>): Node[] {
  const rank = (node: Node) => (badness.indexOf(healthOf(node)) + 10) % 10 || 0;
  return [...nodes].filter((node) => node.logs && node.object!.kind !== "ReplicaSet").sort((a, b) => rank(a) - rank(b) || compareNodes(a, b));
}

export function LogsTab({ delivery, graph, permission }: { delivery: ObjectRef; graph: Graph; permission: Permission | undefined }) {
  const address = useAddress();
  const nodes = useMemo(() => withLogs(graph.nodes.values()), [graph.nodes]);
  const wanted = address.get("of");
  // What was chosen by itself stays when something else becomes worse.
  const first = useMemo(() => nodes.find((n) => healthOf(n) !== "Healthy" && n.object!.kind === "Pod") ?? nodes[0], [graph.arrived]);
  const node = wanted ? nodes.find((n) => keyOf(n.object) === wanted) : (first ?? nodes[0]);
  const object = node?.object;
  const about = useCall(object && permission?.allowed ? `object ${keyOf(delivery)} ${keyOf(object)}` : null, (api, signal) => api.deliveries.getObject({ ref: delivery, object }, { signal }));
  const [options, setOptions] = useLogOptions(address);

  if (permission && !permission.allowed) return <TroubleState trouble={{ kind: "forbidden", title: "You may not read logs", detail: permission.reason }} />;
  if (!graph.arrived && graph.trouble) return <TroubleState trouble={graph.trouble} />;
  if (!graph.arrived) return <Skeleton lines={10} label="Looking for what has logs" />;
  if (nodes.length === 0) return <Empty icon="logs" title="Nothing here writes a log"><p>Logs are those of Pods; none of the objects of this delivery has any.</p></Empty>;
  return (
    <div className={styles.tab}>
      <div className={styles.of}>
        <ChoiceMenu
          title="Logs of"
          chosen={object ? [keyOf(object)] : []}
          onChoose={([of]) => address.set({ of, container: null, pod: null })}
          button={<Button icon="down">{object ? <><HealthMark state={healthOf(node!)} silent />{object.kind} {object.name}</> : "Choose an object"}</Button>}
          items={nodes.slice(0, 200).map((n) => ({ id: keyOf(n.object), text: `${n.object!.kind} ${n.object!.name}`, label: `${n.object!.kind} ${n.object!.name}`, note: <HealthMark state={healthOf(n)} /> }))}
        />
        {node && <span className="quiet">{node.info.join(" · ")}</span>}
      </div>
      {object ? <LogView delivery={delivery} object={object} about={about.data} options={options} onOptions={setOptions} /> : <Empty icon="logs" title="It is gone"><p>What these logs were of is no longer there.</p></Empty>}
    </div>
  );
}

// useLogOptions keeps what is chosen in the address, and there only what is not usual.
export function useLogOptions(address: Address): [LogOptions, (change: Partial<LogOptions>) => void] {
  const { params } = address;
  const flag = (name: "previous" | "follow" | "wrap" | "times") => (params.has(name) ? params.get(name) === "yes" : usual[name]);
  const options: LogOptions = { pod: params.get("pod") ?? "", container: params.get("container") ?? "", since: Number(params.get("since")) || usual.since, previous: flag("previous"), follow: flag("follow"), wrap: flag("wrap"), times: flag("times"), search: params.get("find") ?? "", tail: Number(params.get("tail")) || usual.tail };
  const set = (change: Partial<LogOptions>) =>
    address.set(
      Object.fromEntries(
        Object.entries(change).map(([name, value]) => [name === "search" ? "find" : name, value === usual[name as keyof LogOptions] ? null : value === true ? "yes" : value === false ? "no" : String(value)]),
      ),
    );
  return [options, set];
}
