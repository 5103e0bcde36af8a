// What is chosen on the page of a delivery stands in its address.
import { useCallback, useMemo } from "react";
import { useLocation, useSearchParams } from "wouter";
import { refOf } from "~/api/refs";
import type { ObjectRef } from "~/gen/plumb/v1/common_pb";

export type Changes = Record<string, string | null | undefined>;

export interface Address {
  params: URLSearchParams;
  get: (name: string) => string;
  // href is where changes lead; nothing, null and "" leave a parameter out.
  href: (changes: Changes) => string;
  // set goes there; push leaves the present address in the history of the browser.
  set: (changes: Changes, push?: boolean) => void;
  // replace is for parameters that have several values.
  replace: (params: URLSearchParams) => void;
}

export function changed(params: URLSearchParams, changes: Changes): URLSearchParams {
  const result = new URLSearchParams(params);
  for (const [name, value] of Object.entries(changes)) {
    if (value) result.set(name, value);
    else result.delete(name);
  }
  return result;
}

export function useAddress(): Address {
  const [params, setParams] = useSearchParams();
  const [path] = useLocation();
  const set = useCallback((changes: Changes, push = false) => setParams((before) => changed(before, changes), { replace: !push }), [setParams]);
  return useMemo(
    () => ({
      params,
      get: (name) => params.get(name) ?? "",
      href: (changes) => {
        const text = changed(params, changes).toString();
        return text ? `${path}?${text}` : path;
      },
      set,
      replace: (next) => setParams(next, { replace: true }),
    }),
    [params, path, set, setParams],
  );
}

// refOfKey reads what keyOf wrote.
export function refOfKey(key: string): ObjectRef | undefined {
  const [group, kind, namespace, name, ...more] = key.split("/");
  if (!kind || !name || more.length > 0) return undefined;
  return refOf({ group, kind, namespace, name });
}
