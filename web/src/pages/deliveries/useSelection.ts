import { useCallback, useMemo, useRef, useState } from "react";
import { keyOf } from "~/api/refs";
import type { ObjectRef } from "~/gen/plumb/v1/common_pb";
import type { RowSelection } from "~/parts/table/VirtualTable";

export interface Selection extends RowSelection {
  refs: readonly ObjectRef[];
  pick: (ref: ObjectRef) => void; // one, or not any more
  clear: () => void;
  set: (refs: readonly ObjectRef[]) => void;
}

// useSelection holds which deliveries are selected; refAt says which stands at a
// place of the list, where it is known.
export function useSelection(refAt: (index: number) => ObjectRef | undefined): Selection {
  const [selected, setSelected] = useState<ReadonlyMap<string, ObjectRef>>(new Map());
  const last = useRef(0);
  const latest = useRef(refAt);
  latest.current = refAt;

  const toggle = useCallback((index: number, key: string, range: boolean) => {
    const from = range ? Math.min(last.current, index) : index;
    const to = range ? Math.max(last.current, index) : index;
    last.current = index;
    setSelected((before) => {
      const next = new Map(before);
      const on = range || !before.has(key);
      for (let i = from; i <= to; i++) {
        const ref = latest.current(i);
        if (!ref) continue;
        if (on) next.set(keyOf(ref), ref);
        else next.delete(keyOf(ref));
      }
      return next;
    });
  }, []);

  const pick = useCallback((ref: ObjectRef) => {
    setSelected((before) => {
      const next = new Map(before);
      if (!next.delete(keyOf(ref))) next.set(keyOf(ref), ref);
      return next;
    });
  }, []);

  return useMemo(
    () => ({
      refs: [...selected.values()],
      has: (key: string) => selected.has(key),
      toggle,
      pick,
      clear: () => setSelected(new Map()),
      set: (refs: readonly ObjectRef[]) => setSelected(new Map(refs.map((ref) => [keyOf(ref), ref]))),
    }),
    [selected, toggle, pick],
  );
}
