import type { Delivery } from "~/gen/plumb/v1/deliveries_pb";
import { shortRevision } from "~/parts/revision/Revision";
import { TimeAgo } from "~/parts/time/TimeAgo";
import { phases, stepsOf } from "./phases";
import styles from "./Header.module.css";

// PhaseBar is one line that is always there, so that nothing moves when work
// begins: how far the run is, and what is said of it.
export function PhaseBar({ delivery }: { delivery: Delivery }) {
  const resting = delivery.automation === "suspended" && !delivery.running;
  const steps = stepsOf(resting ? { ...delivery, phase: "" } : delivery);
  const at = steps.findIndex((step) => step !== "done" && step !== "ahead");
  const title = at < 0 ? undefined : `${phases[at]![1]} (${at + 1} of ${phases.length})`;
  const what = delivery.deleting ? "Deleting" : resting ? "Suspended" : at >= 0 ? (delivery.running ? phases[at]![1] : `${steps[at] === "waits" ? "Waiting" : "Stopped"}: ${phases[at]![1].toLowerCase()}`) : delivery.reason || (delivery.phase === "done" ? "Delivered" : "Waiting to begin");
  const message = delivery.message || (delivery.appliedRevision ? `Applied revision ${shortRevision(delivery.appliedRevision)}` : "");
  const known = delivery.ref?.kind !== "ApplicationSet" && delivery.phase !== "delete";
  return (
    <div className={styles.status}>
      {known && (
        <span className={styles.phases} role="img" aria-label={title ? `Phase: ${title}` : "All phases are done"} title={title}>
          {steps.map((step, i) => <i key={i} data-step={step} />)}
        </span>
      )}
      <b className={styles.phase}>{what}</b>
      <span className="cut quiet" title={message}>{message}</span>
      <span className={styles.when}><TimeAgo time={delivery.changed} suffix=" ago" /></span>
    </div>
  );
}
