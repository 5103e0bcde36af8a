// The objects of a delivery, followed by the stream.
import { useState } from "react";
import { keyOf } from "~/api/refs";
import type { StreamState } from "~/api/connection";
import type { Trouble } from "~/api/trouble";
import { useStream } from "~/api/useStream";
import type { ObjectRef } from "~/gen/plumb/v1/common_pb";
import type { Node, WatchGraphResponse } from "~/gen/plumb/v1/deliveries_pb";

export type Nodes = ReadonlyMap<string, Node>;

export interface Graph {
  nodes: Nodes;
  arrived: boolean; // the first message is there
  note: string; // what could not be looked at
  state: StreamState;
  trouble?: Trouble;
}

const none: Nodes = new Map();

// applied is what a message makes of the nodes before it; they stay as they were.
export function applied(before: Nodes, message: Pick<WatchGraphResponse, "reset" | "changed" | "removed">): Nodes {
  const nodes = new Map(message.reset ? [] : before);
  for (const id of message.removed) nodes.delete(id);
  for (const node of message.changed) nodes.set(node.id, node);
  return nodes;
}

export function useGraph(ref: ObjectRef): Graph {
  const key = keyOf(ref);
  const [told, setTold] = useState<{ key: string; nodes: Nodes; note: string }>();
  const { state, trouble } = useStream(
    key,
    (api, options) => api.deliveries.watchGraph({ ref }, options),
    (message) => setTold((before) => ({ key, nodes: applied(before?.key === key ? before.nodes : none, message), note: message.note })),
  );
  const mine = told?.key === key ? told : undefined;
  return { nodes: mine?.nodes ?? none, arrived: !!mine, note: mine?.note ?? "", state, trouble };
}
