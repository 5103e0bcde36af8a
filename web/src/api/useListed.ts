// Lists that are short enough to be held whole: asked for once, and kept up to
// date by a stream.
import type { CallOptions } from "@connectrpc/connect";
import { useState } from "react";
import type { Api } from "./api";
import { useCall, type Answer } from "./useCall";
import { useStream } from "./useStream";

export interface ListedChange<T> {
  reset: boolean;
  changed: readonly T[];
  removed: readonly string[]; // names
  revision: string;
}

export interface Listing<T> {
  name: (item: T) => string;
  list: (api: Api, signal: AbortSignal) => Promise<{ items: readonly T[]; revision: string }>;
  watch: (api: Api, since: string, options: CallOptions) => AsyncIterable<ListedChange<T>>;
}

interface Held<T> {
  from: unknown; // the answer that it began with
  items: readonly T[];
  revision: string;
}

// useListed is a list in the order of its names.
export function useListed<T>(key: string, { name, list, watch }: Listing<T>): Omit<Answer<readonly T[]>, "loading"> {
  const answer = useCall(key, list);
  const [held, setHeld] = useState<Held<T>>();
  const begun: Held<T> | undefined = answer.data && { from: answer.data, ...answer.data };
  const now = held && held.from === answer.data ? held : begun;
  useStream(
    now ? key : null,
    (api, options) => watch(api, now!.revision, options),
    (change) =>
      setHeld((before) => {
        const base = before && before.from === answer.data ? before : begun!;
        return { ...base, items: merged(base.items, change, name), revision: change.revision };
      }),
  );
  return { data: now?.items, trouble: answer.trouble, refresh: answer.refresh };
}

export function merged<T>(items: readonly T[], { reset, changed, removed }: ListedChange<T>, name: (item: T) => string): readonly T[] {
  if (!reset && changed.length === 0 && removed.length === 0) return items;
  const all = new Map(reset ? [] : items.map((item) => [name(item), item]));
  for (const item of changed) all.set(name(item), item);
  for (const gone of removed) all.delete(gone);
  return [...all].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, item]) => item);
}
