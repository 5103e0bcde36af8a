// The window of an action on all that is selected.
import { create } from "@bufbuild/protobuf";
import { useState } from "react";
import { RefreshSchema, ResumeSchema, SuspendSchema, SyncSchema } from "~/gen/plumb/v1/deliveries_pb";
import { ActionDialog, type Action } from "~/parts/action/ActionDialog";
import { Checkbox, TextField } from "~/parts/field/Field";
import { actions, type Kind } from "./SelectionBar";
import type { Selection } from "./useSelection";

export default function Acting({ kind, selection, onClose }: { kind: Kind; selection: Selection; onClose: () => void }) {
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
    sync: <Checkbox checked={prune} onChange={setPrune}>Prune: delete objects that left the source (Applications)</Checkbox>,
    refresh: <Checkbox checked={hard} onChange={setHard}>Hard: without caches</Checkbox>,
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
