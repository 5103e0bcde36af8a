import { create } from "@bufbuild/protobuf";
import { useState } from "react";
import { useKeys } from "~/app/keys";
import { RefreshSchema, ResumeSchema, SuspendSchema, SyncSchema } from "~/gen/plumb/v1/deliveries_pb";
import { ActionDialog, type Action } from "~/parts/action/ActionDialog";
import { Button, IconButton } from "~/parts/button/Button";
import { Checkbox, TextField } from "~/parts/field/Field";
import type { IconName } from "~/parts/icon/Icon";
import type { Selection } from "./useSelection";
import styles from "./SelectionBar.module.css";

type Kind = "refresh" | "sync" | "suspend" | "resume";

const actions: Record<Kind, { label: string; icon: IconName; key: string }> = {
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
      {acting && <Acting kind={acting} selection={selection} onClose={() => setActing(undefined)} />}
    </>
  );
}

function Acting({ kind, selection, onClose }: { kind: Kind; selection: Selection; onClose: () => void }) {
  const [prune, setPrune] = useState(false);
  const [hard, setHard] = useState(false);
  const [reason, setReason] = useState("");
  const action: Action =
    kind === "sync"
      ? { case: "sync", value: create(SyncSchema, { prune }) }
      : kind === "refresh"
        ? { case: "refresh", value: create(RefreshSchema, { hard, source: true }) }
        : kind === "suspend"
          ? { case: "suspend", value: create(SuspendSchema, { reason }) }
          : { case: "resume", value: create(ResumeSchema) };
  const options = {
    sync: <Checkbox checked={prune} onChange={setPrune}>Delete what the source does not have any more (Applications)</Checkbox>,
    refresh: <Checkbox checked={hard} onChange={setHard}>Use nothing that is remembered</Checkbox>,
    suspend: <TextField label="Why" value={reason} onChange={setReason} help="Told in the activity, and to whoever looks at the delivery." />,
    resume: undefined,
  }[kind];
  const { label } = actions[kind];
  return (
    <ActionDialog
      title={selection.refs.length === 1 ? `${label} ${selection.refs[0]!.name}` : `${label} ${selection.refs.length} deliveries`}
      confirm={label}
      targets={selection.refs}
      action={action}
      options={options}
      onClose={onClose}
      onDone={selection.clear}
    />
  );
}
