// The logs of an object. Unlike other streams it does not begin again by itself
// when it ended: whoever reads would find everything twice.
import { useEffect, useRef, useState } from "react";
import { useApi } from "~/api/api";
import { keyOf } from "~/api/refs";
import { sessionLost } from "~/api/session";
import { troubleOf, type Trouble } from "~/api/trouble";
import type { Fault, ObjectRef } from "~/gen/plumb/v1/common_pb";
import type { LogLine } from "~/gen/plumb/v1/deliveries_pb";
import { added, type Line } from "./lines";

export interface LogRequest {
  ref: ObjectRef;
  object: ObjectRef;
  container: string;
  allContainers: boolean;
  pods: string[]; // only these; none: the newest
  previous: boolean;
  follow: boolean;
  tailLines: number;
  sinceSeconds: number; // 0: any
}

export interface Logs {
  lines: readonly Line[];
  state: "opening" | "open" | "ended";
  trouble?: Trouble;
  troubles: readonly Fault[]; // what could not be read, while the rest is
  omitted: number; // Pods that are not read
  again: () => void;
}

const nothing: Omit<Logs, "again"> = { lines: [], state: "opening", troubles: [], omitted: 0 };

export function useLogs(request: LogRequest | undefined): Logs {
  const api = useApi();
  const [turn, setTurn] = useState(0);
  const [logs, setLogs] = useState<Omit<Logs, "again">>(nothing);
  const key = request ? JSON.stringify([{ ...request, ref: keyOf(request.ref), object: keyOf(request.object), version: request.object.version }, turn]) : "";
  const latest = useRef(request);
  latest.current = request;

  useEffect(() => {
    const asked = latest.current;
    if (!asked) return;
    const stop = new AbortController();
    let waiting: LogLine[] = [];
    let frame = 0;
    setLogs(nothing);
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
        for await (const { lines, troubles, omitted } of api.deliveries.streamLogs(asked!, { signal: stop.signal })) {
          waiting.push(...lines);
          if (troubles.length > 0 || omitted > 0) setLogs((before) => ({ ...before, omitted: omitted || before.omitted, troubles: told(before.troubles, troubles) }));
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

const mostTroubles = 10;

// told keeps each trouble once: what cannot be read is tried again and again.
function told(before: readonly Fault[], came: readonly Fault[]): Fault[] {
  const all = [...before, ...came];
  return all.filter((f, i) => all.findIndex((o) => o.message === f.message) === i).slice(-mostTroubles);
}
