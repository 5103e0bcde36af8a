// Streams that begin again by themselves: at once the first time, then after
// ever longer pauses. What the top bar says of them is in connection.ts.
import type { CallOptions } from "@connectrpc/connect";
import { useEffect, useRef, useState } from "react";
import { useApi, type Api } from "./api";
import { trackStream, type StreamState } from "./connection";
import { sessionLost } from "./session";
import { troubleOf, type Trouble } from "./trouble";

const pauses = [250, 1_000, 2_000, 5_000, 10_000, 20_000];

// useStream reads the stream that open begins for as long as it is shown, and
// begins anew when key changes. open is asked again after each interruption,
// and says from where to go on. A null key reads nothing.
export function useStream<T>(
  key: string | null,
  open: (api: Api, options: CallOptions) => AsyncIterable<T>,
  onMessage: (message: T) => void,
): { state: StreamState; trouble?: Trouble } {
  const api = useApi();
  const latest = useRef({ open, onMessage });
  latest.current = { open, onMessage };
  const [known, setKnown] = useState<{ state: StreamState; trouble?: Trouble }>({ state: "connecting" });

  useEffect(() => {
    if (key === null) return;
    const stop = new AbortController();
    const track = trackStream();
    const tell = (state: StreamState, trouble?: Trouble) => {
      if (stop.signal.aborted) return;
      track.tell(state);
      setKnown((before) => (before.state === state && before.trouble === trouble ? before : { state, trouble }));
    };
    void read();
    return () => {
      stop.abort();
      track.end();
    };

    async function read() {
      tell("connecting");
      for (let failures = 0; !stop.signal.aborted; failures++) {
        let trouble: Trouble | undefined;
        try {
          const begun = () => tell("live");
          for await (const message of latest.current.open(api, { signal: stop.signal, onHeader: begun })) {
            if (stop.signal.aborted) return;
            tell("live");
            failures = 0;
            latest.current.onMessage(message);
          }
        } catch (error) {
          trouble = troubleOf(error);
          if (trouble?.kind === "signedOut") return sessionLost();
          if (trouble && (trouble.kind === "forbidden" || trouble.kind === "missing" || trouble.kind === "invalid"))
            return tell("ended", trouble);
        }
        tell("retrying", trouble);
        await pause(pauses[Math.min(failures, pauses.length - 1)]! * (0.8 + 0.4 * Math.random()), stop.signal);
      }
    }
  }, [api, key]);

  return known;
}

// pause ends early when the network comes back or somebody looks at the page again.
function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((done) => {
    if (signal.aborted) return done();
    const over = new AbortController();
    const end = () => {
      clearTimeout(timer);
      over.abort();
      done();
    };
    const timer = setTimeout(end, milliseconds);
    const once = { signal: over.signal };
    signal.addEventListener("abort", end, once);
    window.addEventListener("online", end, once);
    document.addEventListener("visibilitychange", end, once);
  });
}
