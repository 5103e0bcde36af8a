import { useEffect, useRef } from "react";
import type { Trouble } from "./trouble";

const pause = 3_000;

// useAgain tries again for as long as the server cannot be reached: after a
// while, and at once when the network is back. Each try gives a trouble of its own.
export function useAgain(trouble: Trouble | undefined, again: () => unknown) {
  const latest = useRef(again);
  latest.current = again;
  useEffect(() => {
    if (trouble?.kind !== "offline") return;
    const work = () => void latest.current();
    const timer = setTimeout(work, pause);
    window.addEventListener("online", work);
    return () => {
      clearTimeout(timer);
      window.removeEventListener("online", work);
    };
  }, [trouble]);
}
