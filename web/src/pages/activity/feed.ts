// Entries of the journal, newest first: what was looked at so far, and what came
// since. Older ones are asked for when somebody scrolls down to them.
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { useEffect, useMemo, useRef, useSyncExternalStore } from "react";
import { useApi, type Api } from "~/api/api";
import { queryForServer, type ListQuery } from "~/api/query";
import { sessionLost } from "~/api/session";
import { troubleOf, type Trouble } from "~/api/trouble";
import { useAgain } from "~/api/useAgain";
import { useStream } from "~/api/useStream";
import type { Activity, WatchActivityResponse } from "~/gen/plumb/v1/fleet_pb";

export const spans = { "1h": 3_600_000, "24h": 86_400_000, "7d": 604_800_000, "30d": 2_592_000_000 } as const;
export type Span = keyof typeof spans | "";

const size = 60;

export interface FeedState {
  ready: boolean;
  trouble?: Trouble;
  entries: readonly Activity[];
  more: boolean; // there are older ones
}

// entryKey tells entries apart.
export function entryKey(a: Activity): string {
  return a.id;
}

class Feed {
  state: FeedState = { ready: false, entries: [], more: false };
  private listeners = new Set<() => void>();
  private token = "";
  private older = false; // older ones are under way
  after = ""; // what is held is of this revision
  private stop = new AbortController();

  constructor(
    private api: Api,
    private query: ListQuery,
    private span: Span,
  ) {}

  subscribe = (listener: () => void) => {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  };
  get = () => this.state;
  end = () => this.stop.abort();

  // look asks for the newest. Where they do not reach what is there already, the
  // feed begins anew with them.
  look = async () => {
    if (this.stop.signal.aborted) this.stop = new AbortController();
    const answer = await this.ask("");
    if (!answer) return;
    const { activities, nextPageToken, revision } = answer;
    this.after = revision;
    const known = new Set(this.state.entries.map(entryKey));
    const fresh = activities.filter((a) => !known.has(entryKey(a)));
    if (!this.state.ready || fresh.length === activities.length) {
      this.token = nextPageToken;
      this.tell({ ready: true, entries: activities, more: nextPageToken !== "" });
    } else if (fresh.length > 0 || this.state.trouble) this.tell({ ...this.state, trouble: undefined, entries: [...fresh, ...this.state.entries] });
  };

  // take puts what has been done since on top.
  take = ({ reset, activities, revision }: WatchActivityResponse) => {
    this.after = revision;
    if (reset) return void this.look();
    const known = new Set(this.state.entries.map(entryKey));
    const fresh = activities.filter((a) => !known.has(entryKey(a)));
    if (fresh.length > 0) this.tell({ ...this.state, entries: [...fresh, ...this.state.entries] });
  };

  // down asks for older ones.
  down = async () => {
    if (this.older || !this.state.more) return;
    this.older = true;
    const answer = await this.ask(this.token);
    this.older = false;
    if (!answer) return;
    this.token = answer.nextPageToken;
    this.tell({ ready: true, entries: [...this.state.entries, ...answer.activities], more: this.token !== "" });
  };

  private async ask(token: string) {
    const { signal } = this.stop;
    const since = this.span ? timestampFromMs(Date.now() - spans[this.span]) : undefined;
    try {
      const answer = await this.api.fleet.listActivity({ query: queryForServer(this.query, { size, token }), since }, { signal });
      return signal.aborted ? undefined : answer;
    } catch (error) {
      const trouble = troubleOf(error);
      if (signal.aborted || !trouble) return undefined;
      if (trouble.kind === "signedOut") sessionLost();
      this.tell({ ...this.state, trouble });
      return undefined;
    }
  }

  private tell(state: FeedState) {
    this.state = state;
    this.listeners.forEach((listener) => listener());
  }
}

// useFeed is the feed of a query; the one before stays until the new one is there.
export function useFeed(query: ListQuery, span: Span) {
  const api = useApi();
  const key = JSON.stringify([query, span]);
  // The key stands for query and span, which are new objects each time.
  const next = useMemo(() => new Feed(api, query, span), [api, key]);
  const nextState = useSyncExternalStore(next.subscribe, next.get);
  const shown = useRef(next);
  if (nextState.ready || nextState.trouble) shown.current = next;
  useEffect(() => {
    void next.look();
    return next.end;
  }, [next]);
  useAgain(nextState.trouble, next.look);
  useStream(nextState.ready ? key : null, (client, options) => client.fleet.watchActivity({ query: queryForServer(query), after: next.after }, options), next.take);
  return { state: shown.current.state, down: shown.current.down, look: next.look, pending: shown.current !== next };
}
