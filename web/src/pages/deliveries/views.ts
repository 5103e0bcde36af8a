// Views: names for addresses of this page. Those of one's own are kept in this
// browser; anybody gets one by its address.
import { useSyncExternalStore } from "react";

export interface View {
  name: string;
  search: string; // the address behind "?"
}

export const builtIn: readonly View[] = [
  { name: "Everything", search: "" },
  { name: "Failing", search: "health=Degraded&health=Missing" },
  { name: "Out of sync", search: "sync=OutOfSync" },
  { name: "Waiting for approval", search: "held=true" },
  { name: "Suspended", search: "suspended=true" },
  { name: "By cluster", search: "group=cluster" },
  { name: "By health", search: "group=health" },
];

const key = "plumb.views.deliveries";
const listeners = new Set<() => void>();
let views: readonly View[] | undefined;

function read(): readonly View[] {
  if (views) return views;
  try {
    const stored: unknown = JSON.parse(localStorage.getItem(key) ?? "[]");
    views = Array.isArray(stored) ? stored.filter((v): v is View => typeof v?.name === "string" && typeof v?.search === "string") : [];
  } catch {
    views = []; // what somebody else wrote there is not ours to mend
  }
  return views;
}

function write(next: readonly View[]) {
  views = next;
  localStorage.setItem(key, JSON.stringify(next));
  listeners.forEach((listener) => listener());
}

export function saveView(view: View) {
  write([...read().filter((v) => v.name !== view.name), view]);
}

export function removeView(name: string) {
  write(read().filter((v) => v.name !== name));
}

export function useViews(): readonly View[] {
  return useSyncExternalStore((listener) => {
    listeners.add(listener);
    return () => listeners.delete(listener);
  }, read);
}
