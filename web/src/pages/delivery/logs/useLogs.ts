// The logs of an object. Unlike other streams it does not begin again by itself
// when it ended: whoever reads would find everything twice.
import { useEffect, useRef, useState } from "react";
import { useApi } from "~/api/api";
import { keyOf } from "~/api/refs";
import { sessionLost } from "~/api/session";
import { troubleOf, type Trouble } from "~/api/trouble";
import type { ObjectRef } from "~/gen/plumb/v1/common_pb";
import type { LogLine } from "~/gen/plumb/v1/deliveries_pb";
import { added, type Line } from "./lines";

export interface LogRequest {
  ref: ObjectRef;
  object: ObjectRef;
  container: string;
  previous: boolean;
  follow: boolean;
  tail: number;
}

export interface Logs {
  lines: readonly Line[];
  state: "opening" | "open" | "ended";
  trouble?: Trouble;
  again: () => void;
}

export function useLogs(request: LogRequest | undefined): Logs {
  const api = useApi();
  const [turn, setTurn] = useState(0);
  const [logs, setLogs] = useState<Omit<Logs, "again">>({ lines: [], state: "opening" });
  const key = request ? JSON.stringify([keyOf(request.ref), keyOf(request.object), request.object.version, request.container, request.previous, request.follow, request.tail, turn]) : "";
  const latest = useRef(request);
  latest.current = request;

  useEffect(() => {
    const asked = latest.current;
    if (!asked) return;
    const stop = new AbortController();
    let waiting: LogLine[] = [];
    let frame = 0;
    setLogs({ lines: [], state: "opening" });
    // However quickly lines come, they are drawn once a frame.
    const flush = () => {
      frame = 0;
      const came = waiting;
      waiting = [];
      setLogs((before) => ({ ...before, state: "open", lines: added(before.lines, came) }));
    };
    void read();
    return () => {
      stop.abort();
      cancelAnimationFrame(frame);
    };

    async function read() {
      let trouble: Trouble | undefined;
      try {
        const { ref, object, container, previous, follow, tail } = asked!;
        for await (const { lines } of api.deliveries.streamLogs({ ref, object, container, previous, follow, tailLines: tail }, { signal: stop.signal })) {
          waiting.push(...lines);
          frame ||= requestAnimationFrame(flush);
        }
      } catch (error) {
        trouble = troubleOf(error);
        if (trouble?.kind === "signedOut") return sessionLost();
      }
      if (stop.signal.aborted) return;
      cancelAnimationFrame(frame);
      flush();
      setLogs((before) => ({ ...before, state: "ended", trouble }));
    }
  }, [api, key]);

  return { ...logs, again: () => setTurn((n) => n + 1) };
}
