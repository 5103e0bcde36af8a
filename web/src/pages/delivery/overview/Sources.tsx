import type { SourceState } from "~/gen/plumb/v1/deliveries_pb";
import { FaultNote } from "~/parts/fault/FaultNote";
import { ObjectName } from "~/parts/object/ObjectName";
import { Facts, Panel } from "~/parts/panel/Panel";
import { Revision } from "~/parts/revision/Revision";
import { HealthMark } from "~/parts/state/State";
import { TimeAgo } from "~/parts/time/TimeAgo";
import { linkToSource } from "./sourcelink";
import styles from "./Overview.module.css";

// Sources says where each part comes from, and which commit of it runs.
export function Sources({ sources }: { sources: readonly SourceState[] }) {
  return (
    <Panel title={sources.length === 1 ? "Source" : "Sources"} note={sources.length > 1 ? String(sources.length) : undefined} flush>
      {sources.length === 0 && <p className={styles.nothing}>It has no source of its own.</p>}
      <ul className={styles.sources}>{sources.map((state, i) => <li key={i}><Source state={state} /></li>)}</ul>
    </Panel>
  );
}

function Source({ state }: { state: SourceState }) {
  const { source, revision, revisionUrl, commit, health, fault } = state;
  const page = revisionUrl || linkToSource({ url: source?.url ?? "", revision, commit: commit?.hash });
  return (
    <>
      <p className={styles.sourceHead}>
        {health?.state && <HealthMark state={health.state} />}
        {source?.ref ? <ObjectName of={source.ref} /> : <span className="cut" title={source?.url}>{source?.url}</span>}
      </p>
      {commit?.subject && (
        <div className={styles.commit}>
          <p className={styles.subject}>{commit.subject}</p>
          {commit.message && <p className={styles.message}>{commit.message}</p>}
          <p className="quiet">{commit.author.replace(/ <.*>$/, "")}{commit.time && <> · <TimeAgo time={commit.time} suffix=" ago" /></>}{commit.signedBy && <> · <span className={styles.signed}>signed by {commit.signedBy.replace(/ <.*>$/, "")}</span></>}</p>
        </div>
      )}
      <Facts
        facts={[
          ["Revision", <Revision key="r" revision={revision} url={page} copy />],
          source?.ref && ["Repository", source.url],
          ["Target revision", source?.targetRevision && <code key="t">{source.targetRevision}</code>],
          ["Path", source?.path && <code key="p">{source.path}</code>],
          ["Chart", source?.chart && <code key="c">{source.chart}</code>],
        ]}
      />
      {fault && <FaultNote fault={fault} />}
    </>
  );
}
