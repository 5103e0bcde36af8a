// The theme in force: what the system asks for, unless somebody chose another.
import { useSyncExternalStore } from "react";

export type Choice = "system" | "light" | "dark";

const key = "plumb.theme";
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const listeners = new Set<() => void>();

function read(): Choice {
  const stored = localStorage.getItem(key);
  return stored === "light" || stored === "dark" ? stored : "system";
}

function apply() {
  const choice = read();
  document.documentElement.dataset.theme = choice === "system" ? (dark.matches ? "dark" : "light") : choice;
  listeners.forEach((tell) => tell());
}

// startTheme is called before the first paint.
export function startTheme() {
  dark.addEventListener("change", apply);
  window.addEventListener("storage", (event) => event.key === key && apply());
  apply();
}

export function chooseTheme(choice: Choice) {
  if (choice === "system") localStorage.removeItem(key);
  else localStorage.setItem(key, choice);
  apply();
}

export function useTheme(): Choice {
  return useSyncExternalStore(
    (tell) => {
      listeners.add(tell);
      return () => listeners.delete(tell);
    },
    read,
    () => "system",
  );
}
