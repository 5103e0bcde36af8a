// What may be chosen for one sync of an Application.
import { useMemo, useState } from "react";
import { keyOf } from "~/api/refs";
import type { ObjectRef } from "~/gen/plumb/v1/common_pb";
import type { Delivery, GetDeliveryResponse } from "~/gen/plumb/v1/deliveries_pb";
import { Button } from "~/parts/button/Button";
import { Checkbox, SearchField, TextField } from "~/parts/field/Field";
import { Icon } from "~/parts/icon/Icon";
import { ObjectName } from "~/parts/object/ObjectName";
import { SyncMark } from "~/parts/state/State";
import { declaredOptions, syncOptions, withOption } from "./syncoptions";
import styles from "./Header.module.css";

export interface SyncChoice {
  revision: string;
  prune: boolean;
  dryRun: boolean;
  force: boolean;
  objects?: ObjectRef[]; // only these; not set: all
  options?: string[]; // instead of the declared ones; not set: those
}

interface SyncFieldsProps {
  delivery: Delivery;
  detail: GetDeliveryResponse | undefined;
  choice: SyncChoice;
  onChange: (change: Partial<SyncChoice>) => void;
}

export function SyncFields({ delivery, detail, choice, onChange }: SyncFieldsProps) {
  const declared = useMemo(() => declaredOptions(detail?.manifest ?? ""), [detail?.manifest]);
  const options = choice.options ?? declared;
  const tick = (name: "prune" | "dryRun" | "force", label: string, help: string) => (
    <Checkbox checked={choice[name]} onChange={(on) => onChange({ [name]: on })}>
      <span>{label} <span className="quiet">{help}</span></span>
    </Checkbox>
  );
  return (
    <>
      <TextField label="Revision" value={choice.revision} onChange={(revision) => onChange({ revision })} placeholder={delivery.source?.targetRevision || "as declared"} help="Leave it empty for the revision that is declared." mono />
      <div className={styles.ticks}>
        {tick("prune", "Prune", "delete objects that left the source")}
        {tick("dryRun", "Dry run", "change nothing")}
        {tick("force", "Force", "recreate objects whose fields are immutable")}
      </div>
      <Objects detail={detail} home={delivery.targetNamespace} chosen={choice.objects} onChoose={(objects) => onChange({ objects })} />
      <details className={styles.fold}>
        <summary><Icon name="right" size={12} />Options<span className="quiet">{choice.options ? "chosen for this sync" : declared.length > 0 ? declared.join(", ") : "none are declared"}</span></summary>
        <div className={styles.ticks}>
          {syncOptions.map(({ id, label, help }) => (
            <Checkbox key={id} checked={options.includes(id)} onChange={(on) => onChange({ options: withOption(options, id, on) })}>
              <span>{label} <span className="quiet">{help}</span></span>
            </Checkbox>
          ))}
          {choice.options && <Button size="s" look="ghost" onPress={() => onChange({ options: undefined })}>As declared</Button>}
        </div>
      </details>
    </>
  );
}

// Objects chooses which objects are synced.
function Objects({ detail, home, chosen, onChoose }: { detail: GetDeliveryResponse | undefined; home: string; chosen: ObjectRef[] | undefined; onChoose: (objects: ObjectRef[] | undefined) => void }) {
  const [words, setWords] = useState("");
  const [open, setOpen] = useState(!!chosen);
  const resources = detail?.resources.filter((r) => !r.hook) ?? [];
  if (resources.length === 0) return null;
  const keys = new Set((chosen ?? []).map(keyOf));
  const differing = resources.filter((r) => r.sync === "OutOfSync");
  const fits = resources.filter((r) => `${r.object!.kind} ${r.object!.namespace}/${r.object!.name}`.toLowerCase().includes(words.toLowerCase()));
  const toggle = (object: ObjectRef, on: boolean) => {
    const next = on ? [...(chosen ?? []), object] : (chosen ?? []).filter((o) => keyOf(o) !== keyOf(object));
    onChoose(next.length > 0 ? next : undefined);
  };
  return (
    <details className={styles.fold} open={open} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary><Icon name="right" size={12} />Objects<span className="quiet">{chosen ? `only ${chosen.length} of ${resources.length}` : `all ${resources.length}`}</span></summary>
      <div className={styles.picks}>
        {resources.length > 8 && <SearchField label="Find an object" value={words} onChange={setWords} />}
        {differing.length > 0 && <Button size="s" onPress={() => onChoose(differing.map((r) => r.object!))}>What is out of sync ({differing.length})</Button>}
        {chosen && <Button size="s" look="ghost" onPress={() => onChoose(undefined)}>All</Button>}
      </div>
      <ul className={styles.only} aria-label="Objects to sync">
        {fits.slice(0, 200).map((r) => (
          <li key={keyOf(r.object)}>
            <Checkbox checked={keys.has(keyOf(r.object))} onChange={(on) => toggle(r.object!, on)}><ObjectName of={r.object!} home={home} plain /></Checkbox>
            {r.sync === "OutOfSync" && <SyncMark state={r.sync} />}
          </li>
        ))}
        {fits.length > 200 && <li className="quiet">And {fits.length - 200} more: find them by their names.</li>}
      </ul>
    </details>
  );
}
