import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { Operation, Result } from "~/gen/plumb/v1/deliveries_pb";
import { keyOf } from "~/api/refs";
import { ObjectName } from "~/parts/object/ObjectName";
import { Panel } from "~/parts/panel/Panel";
import { Revision } from "~/parts/revision/Revision";
import { HealthMark } from "~/parts/state/State";
import { TimeAgo } from "~/parts/time/TimeAgo";
import styles from "./Overview.module.css";

const states: Record<string, string> = { Running: "Progressing", Terminating: "Progressing", Succeeded: "Healthy", Failed: "Degraded", Error: "Degraded" };

// LastOperation tells of the last sync of an Application, or action of a release.
export function LastOperation({ operation, home }: { operation: Operation; home: string }) {
  const { phase, message, by, started, finished, revision, results } = operation;
  const seconds = started && finished ? Math.max(0, Math.round((timestampMs(finished) - timestampMs(started)) / 1000)) : undefined;
  const worstFirst = [...results].sort((a, b) => Number(failed(b)) - Number(failed(a)));
  return (
    <Panel title="Last operation" note={<>{by ? `by ${by.replace(/ <.*>$/, "")}` : "by Plumb itself"} · <TimeAgo time={started} suffix=" ago" /></>} flush>
      <div className={styles.operation}>
        <HealthMark state={states[phase] ?? "Unknown"} silent />
        <b>{phase}</b>
        {seconds !== undefined && <span className="quiet">in {seconds < 1 ? "under a second" : `${seconds} s`}</span>}
        {revision && <Revision revision={revision} />}
        <span className={styles.message}>{message}</span>
      </div>
      {results.length > 0 && (
        <ul className={styles.results} tabIndex={results.length > 10 ? 0 : undefined} aria-label="Results">
          {worstFirst.map((result, i) => (
            <li key={keyOf(result.object) + i} data-failed={failed(result) || undefined}>
              <HealthMark state={failed(result) ? "Degraded" : result.status.includes("Running") ? "Progressing" : "Healthy"} silent />
              <span className={styles.resultName}>{result.object && <ObjectName of={result.object} home={home} plain />}</span>
              <b>{result.status}</b>
              <span className={styles.message}>{[result.phase && result.phase !== "Sync" && result.phase, result.message].filter(Boolean).join(" · ")}</span>
            </li>
          ))}
        </ul>
      )}
    </Panel>
  );
}

function failed(result: Result): boolean {
  return /Fail|Error/.test(result.status);
}
