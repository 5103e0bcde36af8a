import type { GetSourceResponse } from "~/gen/plumb/v1/fleet_pb";
import { Conditions } from "~/parts/conditions/Conditions";
import { CopyButton } from "~/parts/copy/CopyButton";
import { FaultNote } from "~/parts/fault/FaultNote";
import { Facts, Panel } from "~/parts/panel/Panel";
import { Revision } from "~/parts/revision/Revision";
import { TimeAgo } from "~/parts/time/TimeAgo";
import styles from "./Source.module.css";

// Overview is what is wrong, what is there, and what the object's status says.
export function Overview({ answer }: { answer: GetSourceResponse }) {
  const { source, fault, findings, conditions, verified } = answer;
  const s = source!;
  const faults = [...(fault ? [fault] : []), ...findings];
  return (
    <>
      {faults.length > 0 && <section className={styles.faults} aria-label="What is wrong">{faults.map((f, i) => <FaultNote key={i} fault={f} />)}</section>}
      <div className={styles.two}>
        <Panel title="Source">
          <Facts
            facts={[
              ["URL", <span key="url"><code>{s.url || "–"}</code> {s.url && <CopyButton text={s.url} what="Copy URL" />}</span>],
              ["Target revision", s.targetRevision && <code>{s.targetRevision}</code>],
              ["Revision", <Revision key="revision" revision={s.revision} copy />],
              !!s.commit?.subject && ["Commit", <span key="commit" className={styles.commit}>{s.commit.subject}<span>{s.commit.author}{s.commit.time && <> · <TimeAgo time={s.commit.time} suffix=" ago" /></>}</span></span>],
              ["Signed by", verified],
            ]}
          />
        </Panel>
        <Panel title="State">
          <Facts
            facts={[
              ["Suspended", s.suspended ? "Yes: it is not looked at" : "No"],
              ["Fetched", <TimeAgo key="fetched" time={s.fetched} suffix=" ago" />],
              ["Created", <TimeAgo key="created" time={s.created} suffix=" ago" />],
              ["Read by", `${s.readers} ${s.readers === 1 ? "delivery" : "deliveries"}`],
              Object.keys(s.labels).length > 0 && ["Labels", <code key="labels">{Object.entries(s.labels).map(([k, v]) => `${k}=${v}`).join(" ")}</code>],
            ]}
          />
        </Panel>
      </div>
      {conditions.length > 0 && <Panel title="Conditions" note="as its status says them" flush><Conditions conditions={conditions} /></Panel>}
    </>
  );
}
