import type { Condition } from "~/gen/plumb/v1/deliveries_pb";
import { Icon } from "../icon/Icon";
import { TimeAgo } from "../time/TimeAgo";
import styles from "./Conditions.module.css";

// Of these conditions it is "True" that is bad.
const bad = new Set(["Stalled", "FetchFailed", "ArtifactOutdated", "StorageOperationFailed", "IncludeUnavailable", "ErrorOccurred"]);
const passing = new Set(["Reconciling"]);

// Applications have conditions such as "SyncError" and "RepeatedResourceWarning" only
// when something is wrong: theirs have no status.
const isBad = (type: string) => bad.has(type) || /(Error|Warning)$/.test(type);

// Conditions lists the conditions of an object, as its status has them.
export function Conditions({ conditions }: { conditions: readonly Condition[] }) {
  return (
    <ul className={styles.conditions}>
      {conditions.map((c) => {
        const good = passing.has(c.type) ? undefined : (c.status === "True" || c.status === "") !== isBad(c.type);
        return (
          <li key={c.type} className={styles.condition} data-status={c.status === "Unknown" || good === undefined ? undefined : good ? "True" : "False"}>
            <Icon name={c.status === "Unknown" || good === undefined ? "clock" : good ? "check" : "error"} size={14} />
            <strong>{c.type}{c.status !== "True" && c.status !== "" && <span className="quiet"> is {c.status}</span>}</strong>
            <span className={styles.why}>{c.reason && <b>{c.reason}</b>}{c.message}</span>
            <TimeAgo time={c.since} />
          </li>
        );
      })}
    </ul>
  );
}
