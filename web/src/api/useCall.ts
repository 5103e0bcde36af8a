// Calls whose answers are shown: remembered by key, so that going back shows
// what was there at once while it is asked for again.
import { useCallback, useEffect, useRef, useState, useSyncExternalStore } from "react";
import { useApi, type Api } from "./api";
import { sessionLost, whenSessionEnds } from "./session";
import { troubleOf, type Trouble } from "./trouble";
import { useAgain } from "./useAgain";

export interface Answer<T> {
  data?: T;
  trouble?: Trouble; // of the last try; data of an earlier one may still be there
  loading: boolean;
  refresh(): Promise<void>;
}

type Snapshot = { data?: unknown; trouble?: Trouble; loading: boolean };

class Entry {
  snapshot: Snapshot = { loading: true };
  private listeners = new Set<() => void>();
  private under?: AbortController;

  subscribe = (listener: () => void) => {
    this.listeners.add(listener);
    return () => {
      this.listeners.delete(listener);
      if (this.listeners.size === 0) this.under?.abort();
    };
  };

  async run(call: (signal: AbortSignal) => Promise<unknown>) {
    this.under?.abort();
    const mine = (this.under = new AbortController());
    if (!this.snapshot.loading) this.tell({ ...this.snapshot, loading: true });
    try {
      const data = await call(mine.signal);
      if (this.under === mine) this.tell({ data, loading: false });
    } catch (error) {
      if (this.under !== mine || mine.signal.aborted) return;
      const trouble = troubleOf(error);
      if (trouble?.kind === "signedOut") sessionLost();
      this.tell({ data: this.snapshot.data, trouble, loading: false });
    }
  }

  private tell(snapshot: Snapshot) {
    this.snapshot = snapshot;
    this.listeners.forEach((listener) => listener());
  }
}

let remembered = new WeakMap<Api, Map<string, Entry>>();
const bound = 60;
whenSessionEnds(() => (remembered = new WeakMap()));

function entryOf(api: Api, key: string): Entry {
  let entries = remembered.get(api);
  if (!entries) remembered.set(api, (entries = new Map()));
  let entry = entries.get(key);
  if (!entry) entry = new Entry();
  entries.delete(key);
  entries.set(key, entry);
  if (entries.size > bound) entries.delete(entries.keys().next().value!);
  return entry;
}

const nothing: Snapshot = { loading: false };
const never = () => () => {};

// useCall makes a call when it is first shown and whenever key changes; a null
// key makes none. keep shows the answer of the key before until the new one is there.
export function useCall<T>(
  key: string | null,
  call: (api: Api, signal: AbortSignal) => Promise<T>,
  { keep = false }: { keep?: boolean } = {},
): Answer<T> {
  const api = useApi();
  const latest = useRef(call);
  latest.current = call;
  const [entry, setEntry] = useState<{ key: string; entry: Entry }>();
  // Held in state, so that the entry survives being forgotten by the map.
  const current = key === null ? undefined : entry?.key === key ? entry.entry : entryOf(api, key);
  if (key !== null && entry?.key !== key) setEntry({ key, entry: current! });

  const snapshot = useSyncExternalStore(current?.subscribe ?? never, () => current?.snapshot ?? nothing);
  const refresh = useCallback(async () => current?.run((signal) => latest.current(api, signal)), [api, current]);
  useEffect(() => void refresh(), [refresh]);
  useAgain(snapshot.trouble, refresh);

  const before = useRef<unknown>(undefined);
  if (snapshot.data !== undefined) before.current = snapshot.data;
  const data = snapshot.data ?? (keep && !snapshot.trouble ? before.current : undefined);
  return { data: data as T | undefined, trouble: snapshot.trouble, loading: snapshot.loading, refresh };
}
