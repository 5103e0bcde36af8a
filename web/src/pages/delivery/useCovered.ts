import { useSyncExternalStore } from "react";
import { useNarrow } from "~/parts/table/useNarrow";

const gutter = 24;

function subscribe(listener: () => void) {
  window.addEventListener("resize", listener);
  return () => window.removeEventListener("resize", listener);
}

// useCovered says how many pixels on the right the panel of an object covers. It
// is as wide in ObjectPanel.module.css.
export function useCovered(open: boolean): number {
  const narrow = useNarrow();
  const width = useSyncExternalStore(subscribe, () => window.innerWidth);
  return open && !narrow ? Math.round(Math.min(620, width * 0.48)) - gutter : 0;
}
