import { lazy, Suspense, useState } from "react";
import { useKeys } from "~/app/keys";
import { Button, IconButton } from "~/parts/button/Button";
import type { IconName } from "~/parts/icon/Icon";
import type { Selection } from "./useSelection";
import styles from "./SelectionBar.module.css";

const Acting = lazy(() => import("./Acting"));

export type Kind = "refresh" | "sync" | "suspend" | "resume";

export const actions: Record<Kind, { label: string; icon: IconName; key: string }> = {
  refresh: { label: "Refresh", icon: "refresh", key: "r" },
  sync: { label: "Sync", icon: "sync", key: "s" },
  suspend: { label: "Suspend", icon: "pause", key: "p" },
  resume: { label: "Resume", icon: "play", key: "u" },
};
const kinds = Object.keys(actions) as Kind[];

// SelectionBar floats above the list while something is selected.
export function SelectionBar({ selection, total, onSelectAll }: { selection: Selection; total: number; onSelectAll: () => void }) {
  const [acting, setActing] = useState<Kind>();
  const count = selection.refs.length;
  useKeys(
    "Selected deliveries",
    count === 0 ? [] : [...kinds.map((kind) => ({ keys: actions[kind].key, label: actions[kind].label, run: () => setActing(kind) })), { keys: "Escape", label: "Clear the selection", run: selection.clear }],
  );
  if (count === 0) return null;
  return (
    <>
      <div className={styles.bar} role="toolbar" aria-label="Selected deliveries">
        <strong className="numbers">{count.toLocaleString()} selected</strong>
        {count < total && <Button size="s" look="ghost" onPress={onSelectAll}>{total > 1_000 ? "Select the first 1,000" : `Select all ${total}`}</Button>}
        <span className={styles.gap} />
        {kinds.map((kind) => <Button key={kind} size="s" icon={actions[kind].icon} onPress={() => setActing(kind)}>{actions[kind].label}</Button>)}
        <IconButton icon="close" size="s" label="Clear the selection" keys="Esc" onPress={selection.clear} />
      </div>
      {acting && <Suspense fallback={null}><Acting kind={acting} selection={selection} onClose={() => setActing(undefined)} /></Suspense>}
    </>
  );
}
