import { keyOf } from "~/api/refs";
import type { Change } from "~/gen/plumb/v1/common_pb";
import { DiffView } from "../diff/DiffView";
import { ObjectName } from "../object/ObjectName";
import styles from "./ActionDialog.module.css";

const tones: Record<string, string> = { create: "good", adopt: "busy", apply: "busy", recreate: "warn", delete: "bad", forget: "idle" };

// VerbTag says what becomes of an object.
export function VerbTag({ verb }: { verb: string }) {
  return <span className={styles.verb} data-tone={tones[verb] ?? "idle"}>{verb}</span>;
}

// ChangeList lists what happens, or happened, to objects; their diffs unfold.
export function ChangeList({ changes, open }: { changes: readonly Change[]; open?: boolean }) {
  return (
    <ul className={styles.changes}>
      {changes.map((change) => (
        <li key={keyOf(change.object) + change.verb}>
          {change.diff ? (
            <details open={open}>
              <summary><VerbTag verb={change.verb} />{change.object && <ObjectName of={change.object} plain />}<span className={styles.why}>{change.why}</span></summary>
              <DiffView diff={change.diff} />
            </details>
          ) : (
            <div className={styles.change}><VerbTag verb={change.verb} />{change.object && <ObjectName of={change.object} plain />}<span className={styles.why}>{change.why}</span></div>
          )}
        </li>
      ))}
    </ul>
  );
}
