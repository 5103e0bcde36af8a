// The window of an action: its options, what it would do, and the button that does it.
import { useEffect, useState, type ReactNode } from "react";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { ObjectRef } from "~/gen/plumb/v1/common_pb";
import { ActRequestSchema, type Delivery, type GetDeliveryResponse } from "~/gen/plumb/v1/deliveries_pb";
import { ActionDialog, type Action } from "~/parts/action/ActionDialog";
import { Checkbox, TextField } from "~/parts/field/Field";
import { wordOf, type ActionName } from "./actions";
import { SyncFields, type SyncChoice } from "./SyncFields";
import styles from "./Header.module.css";

export interface Asked {
  name: ActionName;
  historyId?: string; // of rollback
  objects?: ObjectRef[]; // of sync: only these
  object?: ObjectRef; // of objectAction
  objectAction?: string;
}

interface Options extends SyncChoice {
  hard: boolean;
  source: boolean;
  reason: string;
  keep: boolean;
  typed: string;
}

const initial: Options = { revision: "", prune: false, dryRun: false, force: false, hard: false, source: true, reason: "", keep: false, typed: "" };

export function ActionWindow({ asked, delivery, detail, onClose, onDone }: { asked: Asked; delivery: Delivery; detail: GetDeliveryResponse | undefined; onClose: () => void; onDone?: () => void }) {
  const [options, setOptions] = useState<Options>({ ...initial, objects: asked.objects });
  const set = (change: Partial<Options>) => setOptions((before) => ({ ...before, ...change }));
  const settled = useSettled(options);
  const word = asked.name === "objectAction" ? `${capital(asked.objectAction ?? "")} ${asked.object?.kind ?? ""}` : wordOf(asked.name, delivery);
  const danger = asked.name === "delete" || asked.name === "approve";
  const unsure = asked.name === "delete" && !options.keep && options.typed !== delivery.ref!.name;
  return (
    <ActionDialog
      title={`${word}: ${asked.object?.name ?? delivery.ref!.name}`}
      confirm={asked.name === "sync" && options.dryRun ? "Dry run" : word}
      targets={[delivery.ref!]}
      action={actionOf(asked, settled, delivery)}
      danger={danger}
      blocked={unsure}
      options={fieldsOf(asked, delivery, detail, options, set)}
      onClose={onClose}
      onDone={onDone}
    />
  );
}

// fieldsOf are the options of an action; undefined for one that has none.
function fieldsOf(asked: Asked, delivery: Delivery, detail: GetDeliveryResponse | undefined, options: Options, set: (change: Partial<Options>) => void): ReactNode {
  const application = delivery.ref?.kind === "Application";
  const tick = (name: "prune" | "hard" | "source" | "keep", label: string, help: string) => (
    <Checkbox checked={options[name]} onChange={(on) => set({ [name]: on })}>
      <span>{label} <span className="quiet">{help}</span></span>
    </Checkbox>
  );
  switch (asked.name) {
    case "sync":
      return application ? <SyncFields delivery={delivery} detail={detail} choice={options} onChange={set} /> : undefined;
    case "refresh":
      return (
        <div className={styles.ticks}>
          {tick("source", "Look at the source first", "for commits that are newer")}
          {tick("hard", "Hard", "without caches")}
        </div>
      );
    case "suspend":
      return <TextField label="Why" value={options.reason} onChange={(reason) => set({ reason })} placeholder="Such as: freeze until Monday" help="Told to others in the activity." autoFocus />;
    case "rollback":
      return <div className={styles.ticks}>{tick("prune", "Prune", "delete what that revision did not have")}</div>;
    case "delete":
      return (
        <>
          {tick("keep", "Keep what it delivered", "its objects go on running, and nobody owns them")}
          {!options.keep && <TextField label={`Type ${delivery.ref!.name} to confirm`} value={options.typed} onChange={(typed) => set({ typed })} autoComplete="off" mono />}
        </>
      );
    default:
      return undefined;
  }
}

function actionOf(asked: Asked, o: Options, delivery: Delivery): Action {
  const action = (init: MessageInitShape<typeof ActRequestSchema>["action"]) => create(ActRequestSchema, { action: init }).action;
  switch (asked.name) {
    case "sync":
      return action({ case: "sync", value: { revision: o.revision.trim(), prune: o.prune, dryRun: o.dryRun, force: o.force, resources: o.objects ?? [], options: o.options ?? [] } });
    case "refresh":
      return action({ case: "refresh", value: { hard: o.hard, source: o.source } });
    case "suspend":
      return action({ case: "suspend", value: { reason: o.reason } });
    case "approve":
      return action({ case: "approve", value: { token: delivery.hold?.token ?? "" } });
    case "rollback":
      return action({ case: "rollback", value: { id: asked.historyId ?? "", prune: o.prune } });
    case "delete":
      return action({ case: "delete", value: { keepObjects: o.keep } });
    case "objectAction":
      return action({ case: "objectAction", value: { object: asked.object, name: asked.objectAction ?? "" } });
    case "resume":
      return action({ case: "resume", value: {} });
    case "terminate":
      return action({ case: "terminate", value: {} });
    case "lift":
      return action({ case: "lift", value: {} });
  }
}

// useSettled waits until somebody stopped writing: each change of an action is a new preview.
function useSettled<T>(value: T, pause = 350): T {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), pause);
    return () => clearTimeout(timer);
  }, [value, pause]);
  return settled;
}

function capital(word: string): string {
  return word.charAt(0).toUpperCase() + word.slice(1);
}
