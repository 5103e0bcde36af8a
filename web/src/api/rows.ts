// Lists that the server answers page by page, and tells of as they change: as
// many pages are held as were looked at. What is asked for again replaces what
// is there in place.
import type { CallOptions } from "@connectrpc/connect";
import { useEffect, useMemo, useRef, useSyncExternalStore } from "react";
import type { Facet, ObjectRef } from "~/gen/plumb/v1/common_pb";
import { useApi, type Api } from "./api";
import { keyOf } from "./refs";
import { sessionLost } from "./session";
import { troubleOf, type Trouble } from "./trouble";
import { useAgain } from "./useAgain";
import { useStream } from "./useStream";

export interface Page<T> {
  rows: readonly T[];
  total: number;
  facets: readonly Facet[];
  revision: string;
}

export interface RowsChange<T> {
  reset: boolean;
  changed: readonly T[];
  removed: readonly ObjectRef[];
  totalSize: number;
  facets: readonly Facet[];
  revision: string;
}

export interface Source<T> {
  page: FetchPage<T>;
  watch: (api: Api, since: string, options: CallOptions) => AsyncIterable<RowsChange<T>>;
}

export type FetchPage<T> = (api: Api, page: { skip: number; size: number }, options: { signal: AbortSignal }) => Promise<Page<T>>;

export interface RowsState<T> {
  ready: boolean; // there is an answer
  trouble?: Trouble; // of the last try
  total: number;
  facets: readonly Facet[];
  rows: readonly (T | undefined)[]; // undefined: not looked at yet
}

const size = 100;
// Changes that come together are asked for together.
const settle = 400;

export class Rows<T extends { ref?: ObjectRef }> {
  state: RowsState<T> = { ready: false, total: 0, facets: [], rows: [] };
  private listeners = new Set<() => void>();
  private asked = new Set<number>();
  private seen: [first: number, last: number] = [0, 0];
  private stop = new AbortController();
  private timer?: ReturnType<typeof setTimeout>;
  since = ""; // what is held is of this revision, or newer

  constructor(
    private api: Api,
    private fetchPage: FetchPage<T>,
  ) {}

  subscribe = (listener: () => void) => {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  };
  get = () => this.state;

  // load asks again for what is looked at.
  load = () => {
    this.stop.abort();
    this.stop = new AbortController();
    this.asked.clear();
    this.see(...this.seen);
  };

  see = (first: number, last: number) => {
    this.seen = [first, last];
    for (let page = Math.floor(first / size); page <= Math.floor(Math.max(first, last) / size); page++) {
      if (this.asked.has(page) || (this.state.ready && page > 0 && page * size >= this.state.total)) continue;
      this.asked.add(page);
      void this.fetch(page, this.stop.signal);
    }
  };

  // apply takes in what the stream tells. Rows that are looked at change in
  // place; those that come, and those that go, move the others, which are asked
  // for again.
  apply = (change: RowsChange<T>) => {
    this.since = change.revision;
    const known = new Map(this.state.rows.map((row, index) => [row ? keyOf(row.ref) : "", index]));
    const rows = [...this.state.rows];
    let moved = change.reset || change.removed.length > 0 || change.totalSize !== this.state.total;
    for (const row of change.changed) {
      const index = known.get(keyOf(row.ref));
      if (index === undefined) moved = true;
      else rows[index] = row;
    }
    if (change.changed.length > 0 || moved) this.tell({ ...this.state, rows, facets: change.facets, trouble: undefined });
    if (moved) this.timer ??= setTimeout(() => ((this.timer = undefined), this.load()), settle);
  };

  end = () => {
    clearTimeout(this.timer);
    this.timer = undefined;
  };

  private async fetch(page: number, signal: AbortSignal) {
    try {
      const { rows, total, facets, revision } = await this.fetchPage(this.api, { skip: page * size, size }, { signal });
      if (signal.aborted) return;
      this.since ||= revision;
      const all = Array.from({ length: total }, (_, i) => (i >= page * size && i < page * size + rows.length ? rows[i - page * size] : this.state.rows[i]));
      this.tell({ ready: true, total, facets, rows: all });
    } catch (error) {
      const trouble = troubleOf(error);
      if (signal.aborted || !trouble) return;
      if (trouble.kind === "signedOut") sessionLost();
      this.asked.delete(page);
      this.tell({ ...this.state, trouble });
    }
  }

  private tell(state: RowsState<T>) {
    this.state = state;
    this.listeners.forEach((listener) => listener());
  }
}

// useRows is the list that key stands for. While another is asked for, the list
// before stays, and pending says so.
export function useRows<T extends { ref?: ObjectRef }>(key: string, source: Source<T>) {
  const api = useApi();
  // The key stands for the source, which is a new object each time.
  const next = useMemo(() => new Rows(api, source.page), [api, key]);
  const nextState = useSyncExternalStore(next.subscribe, next.get);
  const shown = useRef(next);
  if (nextState.ready || nextState.trouble) shown.current = next;
  useEffect(() => {
    next.load();
    return next.end;
  }, [next]);
  useAgain(nextState.trouble, next.load);
  useStream(nextState.ready ? key : null, (client, options) => source.watch(client, next.since, options), next.apply);
  return { state: shown.current.state, see: shown.current.see, load: next.load, pending: shown.current !== next };
}
