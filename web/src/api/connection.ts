// How the streams of this page are doing, for the sign in the top bar.
import { useSyncExternalStore } from "react";

export type StreamState = "connecting" | "live" | "retrying" | "ended";

const streams = new Map<symbol, StreamState>();
const listeners = new Set<() => void>();

function changed() {
  listeners.forEach((listener) => listener());
}

export function trackStream() {
  const id = Symbol("stream");
  return {
    tell(state: StreamState) {
      streams.set(id, state);
      changed();
    },
    end() {
      streams.delete(id);
      changed();
    },
  };
}

// The worst of all: one stream that is interrupted makes the page stale.
function worst(): StreamState | "none" {
  const states = [...streams.values()];
  return (["retrying", "connecting", "live", "ended"] as const).find((state) => states.includes(state)) ?? "none";
}

export function useConnection() {
  return useSyncExternalStore((listener) => {
    listeners.add(listener);
    return () => listeners.delete(listener);
  }, worst);
}
