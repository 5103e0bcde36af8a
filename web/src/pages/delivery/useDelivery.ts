// A delivery as it is now: its row follows the stream, and the rest is asked for
// again when the row changed.
import { timestampMs, type Timestamp } from "@bufbuild/protobuf/wkt";
import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import type { Api } from "~/api/api";
import { keyOf } from "~/api/refs";
import type { Trouble } from "~/api/trouble";
import { useCall, type Answer } from "~/api/useCall";
import { useStream } from "~/api/useStream";
import type { ObjectRef } from "~/gen/plumb/v1/common_pb";
import type { Delivery, GetDeliveryResponse } from "~/gen/plumb/v1/deliveries_pb";

export interface Shown {
  ref: ObjectRef;
  delivery?: Delivery; // newest row
  detail?: GetDeliveryResponse;
  trouble?: Trouble;
  gone: boolean; // it was deleted while one looked
  version: string; // changes with the row; "" until there is one
  refresh: () => Promise<void>;
}

export function useDelivery(ref: ObjectRef): Shown {
  const key = keyOf(ref);
  const { data: detail, trouble, refresh } = useCall(`delivery ${key}`, (api, signal) => api.deliveries.getDelivery({ ref }, { signal }));
  const [told, setTold] = useState<{ key: string; row?: Delivery; gone?: boolean }>({ key });
  const again = useCalmly(refresh);

  useStream(
    detail || !trouble ? key : null,
    (api, options) => api.deliveries.watchDeliveries({ query: { search: ref.name, where: { kind: { values: [ref.kind] }, namespace: { values: [ref.namespace] } } } }, options),
    (message) => {
      const row = message.changed.find((d) => keyOf(d.ref) === key);
      if (row) setTold({ key, row });
      else if (message.removed.some((r) => keyOf(r) === key) || (message.reset && detail)) setTold({ key, gone: true });
    },
  );

  const row = told.key === key ? told.row : undefined;
  const known = detail?.delivery;
  const delivery = row && (!known || milliseconds(row.changed) >= milliseconds(known.changed)) ? row : known;
  useEffect(() => {
    if (row && known && row !== known && milliseconds(row.changed) > milliseconds(known.changed)) again();
  }, [row]);

  return useMemo(
    () => ({ ref, delivery, detail, trouble, gone: told.key === key && !!told.gone, version: delivery ? String(milliseconds(delivery.changed)) : "", refresh }),
    [key, delivery, detail, trouble, told, refresh],
  );
}

// useFollowed is useCall that asks again whenever version changes.
export function useFollowed<T>(key: string | null, version: string, call: (api: Api, signal: AbortSignal) => Promise<T>): Answer<T> {
  const answer = useCall(key, call);
  const seen = useRef({ key, version });
  const again = useCalmly(answer.refresh);
  useEffect(() => {
    const before = seen.current;
    seen.current = { key, version };
    if (before.key === key && before.version !== "" && before.version !== version) again();
  }, [key, version]);
  return answer;
}

// useCalmly runs work soon, and not more than once in a while however often it is called.
function useCalmly(work: () => Promise<void>, pause = 500): () => void {
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const latest = useRef(work);
  latest.current = work;
  useEffect(() => () => clearTimeout(timer.current), []);
  return useCallback(() => {
    timer.current ??= setTimeout(() => {
      timer.current = undefined;
      void latest.current();
    }, pause);
  }, [pause]);
}

function milliseconds(time: Timestamp | undefined): number {
  return time ? timestampMs(time) : 0;
}
