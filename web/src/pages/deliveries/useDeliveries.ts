import { useEffect, useMemo, useRef, useSyncExternalStore } from "react";
import { useApi, type Api } from "~/api/api";
import { queryForServer, type ListQuery } from "~/api/query";
import { whenSessionEnds } from "~/api/session";
import { useAgain } from "~/api/useAgain";
import { useStream } from "~/api/useStream";
import type { Look } from "./address";
import { fieldsOf } from "./columns";
import { DeliveryList } from "./list";

// Lists that were looked at lately: coming back from a delivery shows what was
// there at once, while it is asked for again.
let recent = new WeakMap<Api, Map<string, DeliveryList>>();
const kept = 4;
whenSessionEnds(() => (recent = new WeakMap()));

function listOf(api: Api, key: string, query: ListQuery, group: string, fields: readonly string[]): DeliveryList {
  let lists = recent.get(api);
  if (!lists) recent.set(api, (lists = new Map()));
  const list = lists.get(key) ?? new DeliveryList(api, query, group, fields);
  lists.delete(key);
  lists.set(key, list);
  if (lists.size > kept) lists.delete(lists.keys().next().value!);
  return list;
}

const keyFor = (query: ListQuery, group: string, fields: readonly string[]) => JSON.stringify([query, group, fields]);

// beginDeliveries asks for the list of an address before the page is put together.
export function beginDeliveries(api: Api, { query, group, columns }: Look) {
  const fields = fieldsOf(columns);
  listOf(api, keyFor(query, group, fields), query, group, fields).begin();
}

// useDeliveries is the list of a query; fields are those that rows show besides
// what all of them do. While another query is asked for, the
// list before stays, and pending says so.
export function useDeliveries(query: ListQuery, group: string, fields: readonly string[]) {
  const api = useApi();
  const key = keyFor(query, group, fields);
  // The key stands for the others, which are new objects each time.
  const next = useMemo(() => listOf(api, key, query, group, fields), [api, key]);
  const nextState = useSyncExternalStore(next.subscribe, next.get);
  useEffect(() => next.begin(), [next]);
  useAgain(nextState.trouble, next.load);

  const shown = useRef(next);
  if (nextState.ready || nextState.trouble) shown.current = next;
  const list = shown.current;

  useStream(
    nextState.ready ? key : null,
    (client, options) => client.deliveries.watchDeliveries({ query: queryForServer(query), readMask: next.readMask, facets: true, since: next.since() }, options),
    (message) => (message.reset ? void next.load() : next.apply(message)),
  );
  return { list, state: list.state, pending: list !== next };
}
