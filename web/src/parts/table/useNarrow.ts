import { useSyncExternalStore } from "react";

const query = window.matchMedia("(max-width: 720px)");

// useNarrow says whether the window is as narrow as a phone's.
export function useNarrow(): boolean {
  return useSyncExternalStore(
    (listener) => {
      query.addEventListener("change", listener);
      return () => query.removeEventListener("change", listener);
    },
    () => query.matches,
  );
}
