// Shortcuts: whatever is shown registers its own, and the help lists them.
import { useEffect, useRef, useSyncExternalStore } from "react";

export interface Shortcut {
  keys: string; // as KeyboardEvent.key has it; "g d" is one key after the other; "mod+k" is Ctrl or ⌘
  label: string;
  run: () => void;
}

let registered: readonly { area: string; shortcuts: readonly Shortcut[] }[] = [];
const listeners = new Set<() => void>();

function tell() {
  listeners.forEach((listener) => listener());
}

// useKeys makes shortcuts work as long as the caller is shown; those of what is
// shown last come first, and those of what surrounds it after all others. area is
// their heading in the help.
export function useKeys(area: string, shortcuts: readonly Shortcut[], { surrounding = false } = {}) {
  const latest = useRef(shortcuts);
  latest.current = shortcuts;
  const names = shortcuts.map((s) => `${s.keys}:${s.label}`).join("|");
  useEffect(() => {
    const entry = { area, shortcuts: latest.current.map((s, i) => ({ ...s, run: () => latest.current[i]?.run() })) };
    registered = surrounding ? [...registered, entry] : [entry, ...registered];
    tell();
    return () => {
      registered = registered.filter((e) => e !== entry);
      tell();
    };
  }, [area, names, surrounding]);
}

export function useShortcuts() {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => registered,
  );
}

// keyName is a key as people read it.
export function keyName(key: string): string {
  if (key.startsWith("mod+")) return `Ctrl ${key.slice(4).toUpperCase()}`;
  return key === "Escape" ? "Esc" : key.length === 1 ? key.toUpperCase() : key;
}

let prefix = "";
let prefixTimer: ReturnType<typeof setTimeout> | undefined;

function onKeyDown(event: KeyboardEvent) {
  const target = event.target as HTMLElement;
  const modified = event.ctrlKey || event.metaKey;
  const key = modified ? `mod+${event.key.toLowerCase()}` : event.key;
  if (event.altKey || event.isComposing || event.defaultPrevented) return;
  // Whoever writes, or is in a dialog or menu, is left alone.
  if (!modified && target.closest?.("input:not([type=checkbox]), textarea, select, [contenteditable], dialog, [role=menu], [role=listbox]")) return;
  const pressed = prefix ? `${prefix} ${key}` : key;
  prefix = "";
  clearTimeout(prefixTimer);
  const all = registered.flatMap((entry) => entry.shortcuts);
  const match = all.find((s) => s.keys === pressed);
  if (match) {
    event.preventDefault();
    match.run();
  } else if (all.some((s) => s.keys.startsWith(`${pressed} `))) {
    prefix = pressed;
    prefixTimer = setTimeout(() => (prefix = ""), 1_200);
  }
}

// listenForKeys is called once, by the application.
export function listenForKeys() {
  document.addEventListener("keydown", onKeyDown);
  return () => document.removeEventListener("keydown", onKeyDown);
}
