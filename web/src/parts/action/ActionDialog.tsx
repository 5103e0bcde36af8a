// Actions on deliveries: first what they would do, then, when somebody agrees,
// what they did. One dialog for one delivery and for hundreds.
import { toJsonString } from "@bufbuild/protobuf";
import { useEffect, useState, type ReactNode } from "react";
import { create } from "@bufbuild/protobuf";
import { useApi, type Api } from "~/api/api";
import { keyOf } from "~/api/refs";
import { troubleOf } from "~/api/trouble";
import { ActRequestSchema, type ActRequest, type ActResponse } from "~/gen/plumb/v1/deliveries_pb";
import type { ObjectRef } from "~/gen/plumb/v1/common_pb";
import { Button } from "../button/Button";
import { Dialog } from "../dialog/Dialog";
import { Icon } from "../icon/Icon";
import { ObjectName } from "../object/ObjectName";
import { toast } from "../toast/toast";
import { sentence } from "../words/sentence";
import { ChangeList } from "./ChangeList";
import styles from "./ActionDialog.module.css";

export type Action = ActRequest["action"];
type Outcome = { answer?: ActResponse; refused?: string };

export interface ActionDialogProps {
  title: string;
  confirm: string; // the word on the button, such as "Sync"
  targets: readonly ObjectRef[];
  action: Action;
  danger?: boolean;
  blocked?: boolean; // something is still to be filled in
  options?: ReactNode; // fields by which the caller changes action
  onClose: () => void;
  onDone?: () => void;
}

// What an action would do, where there is more to say than what the server calls it.
const wouldDo: Partial<Record<NonNullable<Action["case"]>, string>> = {
  refresh: "The source is looked at now. What has changed is delivered as usual.",
  suspend: "Nothing is delivered, and nothing is corrected, until somebody resumes it. What runs goes on running.",
  resume: "It is delivered again, beginning now.",
  terminate: "The operation stops. What it has applied so far stays applied.",
  lift: "The revision is delivered by itself again.",
  rollback: "What was delivered then is delivered again. The present revision goes into quarantine until there is a newer one.",
};

// More than these are asked for a preview one after another only as far as needed.
const atOnce = 6;
const previewed = 60;

export function ActionDialog({ title, confirm, targets, action, danger, blocked, options, onClose, onDone }: ActionDialogProps) {
  const api = useApi();
  const [outcomes, setOutcomes] = useState(new Map<string, Outcome>());
  const [working, setWorking] = useState(false);
  const request = (ref: ObjectRef, preview: boolean) => create(ActRequestSchema, { ref, action, preview });
  const asked = toJsonString(ActRequestSchema, create(ActRequestSchema, { action }));
  const seen = targets.slice(0, previewed);

  useEffect(() => {
    const stop = new AbortController();
    setOutcomes(new Map());
    void each(seen, async (ref) => {
      const outcome = await act(api, request(ref, true), stop.signal);
      if (!stop.signal.aborted) setOutcomes((before) => new Map(before).set(keyOf(ref), outcome));
    });
    return () => stop.abort();
    // The targets of an open dialog do not change; its action does, by its options.
  }, [api, asked]);

  const refused = seen.filter((ref) => outcomes.get(keyOf(ref))?.refused);
  const ready = outcomes.size === seen.length;
  const able = targets.length - refused.length;

  const run = async () => {
    setWorking(true);
    const failures: string[] = [];
    const willing = targets.filter((ref) => !refused.includes(ref));
    let said = "";
    await each(willing, async (ref) => {
      const { answer, refused: why } = await act(api, request(ref, false));
      if (why) failures.push(`${ref.name}: ${why}`);
      else said = sentence(answer?.message ?? "");
    });
    setWorking(false);
    const done = willing.length - failures.length;
    if (done > 0) toast({ tone: "good", title: willing.length === 1 ? `${willing[0]!.name}: ${said || `${confirm} done`}` : `${confirm}: ${done} of ${willing.length} done` });
    if (failures.length > 0) toast({ tone: "bad", title: `${failures.length === 1 ? "One" : failures.length} failed`, detail: failures.slice(0, 3).join("; ") });
    onDone?.();
    onClose();
  };

  const footer = (
    <>
      {targets.length > 1 && ready && refused.length > 0 && <span className={styles.sum}>{able} of {targets.length} can be done</span>}
      <Button onPress={onClose}>Cancel</Button>
      <Button look={danger ? "danger" : "primary"} busy={working} disabled={!ready || able === 0 || blocked} onPress={() => void run()}>
        {targets.length > 1 ? `${confirm} ${able}` : confirm}
      </Button>
    </>
  );

  return (
    <Dialog title={title} onClose={onClose} footer={footer} size={targets.length > 1 ? "l" : "m"}>
      <div className={styles.content}>
        {options && <div className={styles.options}>{options}</div>}
        <ul className={styles.targets}>
          {seen.map((ref) => <Target key={keyOf(ref)} target={ref} outcome={outcomes.get(keyOf(ref))} does={action.case && wouldDo[action.case]} alone={targets.length === 1} />)}
        </ul>
        {targets.length > previewed && <p className="quiet">And {targets.length - previewed} more, of which nothing was asked beforehand: each is checked when it is done.</p>}
      </div>
    </Dialog>
  );
}

function Target({ target, outcome, does, alone }: { target: ObjectRef; outcome: Outcome | undefined; does: string | undefined; alone: boolean }) {
  const changes = outcome?.answer?.changes ?? [];
  return (
    <li className={styles.target} data-refused={outcome?.refused ? "" : undefined}>
      {!alone && <ObjectName of={target} plain />}
      {!outcome && <span className="quiet" role="status">Asking what it would do…</span>}
      {outcome?.refused && <p className={styles.refused}><Icon name="lock" size={14} />{sentence(outcome.refused)}</p>}
      {outcome?.answer && <p className="quiet">{does ?? sentence(outcome.answer.message)}</p>}
      {outcome?.answer?.warnings.map((warning) => <p key={warning} className={styles.warning}><Icon name="warning" size={14} />{warning}</p>)}
      {changes.length > 0 && <ChangeList changes={changes} open={alone && changes.length <= 3} />}
    </li>
  );
}

async function act(api: Api, request: ActRequest, signal?: AbortSignal): Promise<Outcome> {
  try {
    return { answer: await api.deliveries.act(request, { signal }) };
  } catch (error) {
    const trouble = troubleOf(error);
    return { refused: trouble?.detail || trouble?.title || "Interrupted" };
  }
}

async function each<T>(items: readonly T[], work: (item: T) => Promise<void>) {
  const rest = [...items];
  const worker = async () => {
    for (let item = rest.shift(); item !== undefined; item = rest.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, worker));
}
