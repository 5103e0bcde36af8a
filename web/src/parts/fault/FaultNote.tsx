import type { Fault } from "~/gen/plumb/v1/common_pb";
import { Icon } from "../icon/Icon";
import { ObjectName } from "../object/ObjectName";
import { sentence } from "../words/sentence";
import styles from "./FaultNote.module.css";

// FaultNote tells of one thing that is wrong: reason, where, and what to do next.
export function FaultNote({ fault }: { fault: Fault }) {
  const tone = fault.severity === "warning" ? "warn" : fault.severity === "info" ? "busy" : "bad";
  const place = fault.file ? `${fault.file}${fault.line ? `:${fault.line}` : ""}` : fault.field;
  return (
    <div className={styles.fault} data-tone={tone}>
      <Icon name={tone === "bad" ? "error" : tone === "warn" ? "warning" : "info"} />
      <div className={styles.body}>
        <p className={styles.head}>
          <strong>{fault.reason}</strong>
          {fault.waiting && <span className="quiet">waits for something else</span>}
          {place && <code>{place}</code>}
        </p>
        <p className={styles.message}>{sentence(fault.message)}</p>
        {fault.object && <ObjectName of={fault.object} />}
        {fault.advice && <p className={styles.advice}>{sentence(fault.advice)}</p>}
      </div>
    </div>
  );
}
