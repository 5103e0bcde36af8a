// Lists that the server answers page by page: as many pages are held as were
// looked at. What is asked for again replaces what is there in place.
import { useEffect, useMemo, useRef, useSyncExternalStore } from "react";
import type { Facet } from "~/gen/plumb/v1/common_pb";
import { useApi, type Api } from "./api";
import { sessionLost } from "./session";
import { troubleOf, type Trouble } from "./trouble";

export interface Page<T> {
  rows: readonly T[];
  total: number;
  facets: readonly Facet[];
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
// How often a list without a stream is asked for again while it is looked at.
const every = 10_000;

class Rows<T> {
  state: RowsState<T> = { ready: false, total: 0, facets: [], rows: [] };
  private listeners = new Set<() => void>();
  private asked = new Set<number>();
  private seen: [first: number, last: number] = [0, 0];
  private stop = new AbortController();

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

  private async fetch(page: number, signal: AbortSignal) {
    try {
      const { rows, total, facets } = await this.fetchPage(this.api, { skip: page * size, size }, { signal });
      if (signal.aborted) return;
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
export function useRows<T>(key: string, fetchPage: FetchPage<T>) {
  const api = useApi();
  // The key stands for fetchPage, which is a new function each time.
  const next = useMemo(() => new Rows(api, fetchPage), [api, key]);
  const nextState = useSyncExternalStore(next.subscribe, next.get);
  const shown = useRef(next);
  if (nextState.ready || nextState.trouble) shown.current = next;
  useEffect(() => {
    next.load();
    const timer = setInterval(() => document.visibilityState === "visible" && next.load(), every);
    return () => clearInterval(timer);
  }, [next]);
  return { state: shown.current.state, see: shown.current.see, load: next.load, pending: shown.current !== next };
}
