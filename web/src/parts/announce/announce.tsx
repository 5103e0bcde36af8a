// What is said to people who listen instead of looking.
import { useSyncExternalStore } from "react";

let words = "";
let turn = 0;
const listeners = new Set<() => void>();

// announce says something when whoever listens is next at leisure.
export function announce(text: string) {
  // The same words twice are said twice only if the text differs.
  words = text + (turn++ % 2 ? "\u00a0" : "");
  listeners.forEach((listener) => listener());
}

export function LiveRegion() {
  const text = useSyncExternalStore((listener) => (listeners.add(listener), () => listeners.delete(listener)), () => words);
  return <div className="unseen" role="status" aria-live="polite">{text}</div>;
}
