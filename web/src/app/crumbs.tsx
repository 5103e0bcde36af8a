// Breadcrumbs: a page says where it is, the top bar shows it.
import { useEffect, useSyncExternalStore } from "react";

export interface Crumb {
  label: string;
  href?: string;
}

let crumbs: readonly Crumb[] = [];
const listeners = new Set<() => void>();

function set(next: readonly Crumb[]) {
  crumbs = next;
  listeners.forEach((listener) => listener());
}

// useCrumbs is called by a page; the last crumb is the page itself.
export function useCrumbs(...path: Crumb[]) {
  const words = JSON.stringify(path);
  useEffect(() => {
    set(JSON.parse(words) as Crumb[]);
    return () => set([]);
  }, [words]);
}

export function useShownCrumbs() {
  return useSyncExternalStore((listener) => (listeners.add(listener), () => listeners.delete(listener)), () => crumbs);
}
