import { useEffect, useRef } from "react";
import { keyOf } from "~/api/refs";
import type { HistoryEntry } from "~/gen/plumb/v1/deliveries_pb";
import { VerbTag } from "~/parts/action/ChangeList";
import { IconButton } from "~/parts/button/Button";
import { DiffView } from "~/parts/diff/DiffView";
import { ObjectName } from "~/parts/object/ObjectName";
import { Panel } from "~/parts/panel/Panel";
import { Revision } from "~/parts/revision/Revision";
import { exactTime } from "~/parts/time/clock";
import { CommitWords } from "../header/Header";
import { linkToComparison } from "../overview/sourcelink";
import type { Between as Found, Touched } from "./between";
import styles from "./History.module.css";

// Between tells what changed between two entries: commits, and what became of objects.
export function Between({ found, url, home, onClose }: { found: Found; url: string; home: string; onClose: () => void }) {
  const { from, to, runs, failed, commits, objects, omitted } = found;
  const page = linkToComparison(url, from, to);
  const top = useRef<HTMLDivElement>(null);
  // It stands above the entries, of which the second may be far down.
  useEffect(() => {
    document.getElementById("content")?.scrollTo({ top: 0 });
    top.current?.focus({ preventScroll: true });
  }, [from, to]);
  const said = [`${runs} ${runs === 1 ? "run" : "runs"} with changes`, failed > 0 && `${failed} failed`, commits.length > 0 && `${commits.length} ${commits.length === 1 ? "commit" : "commits"}`].filter(Boolean).join(", ");
  return (
    <Panel title="What changed" note={said} actions={<IconButton icon="close" label="Close the comparison" onPress={onClose} />}>
      <div ref={top} className={styles.between} tabIndex={-1}>
        <p className={styles.ends}>
          <End entry={from} /> <span className="quiet">to</span> <End entry={to} />
          {page && <a className="link" href={page} target="_blank" rel="noreferrer">open the commits</a>}
        </p>
        {commits.length > 0 && <ul className={styles.commits} aria-label="Commits">{commits.map((commit) => <li key={commit.hash}><code>{commit.hash.slice(0, 8)}</code><CommitWords commit={commit} /></li>)}</ul>}
        {objects.length === 0 ? (
          <p className="quiet">{omitted > 0 ? `${omitted} changes were made that were not kept.` : "No object was changed."}</p>
        ) : (
          <ul className={styles.touched} aria-label="Objects that changed">{objects.map((t) => <li key={keyOf(t.object)}><Object of={t} home={home} /></li>)}</ul>
        )}
        {objects.length > 0 && omitted > 0 && <p className="quiet">And {omitted} more that were not kept.</p>}
      </div>
    </Panel>
  );
}

function End({ entry }: { entry: HistoryEntry }) {
  return (
    <span className={styles.end}>
      {entry.revision ? <Revision revision={entry.revision} icon /> : <b>{entry.result}</b>}
      {entry.time && <span className="quiet">{exactTime(entry.time)}</span>}
    </span>
  );
}

function Object({ of: { object, verb, times, changes }, home }: { of: Touched; home: string }) {
  const head = (
    <>
      <VerbTag verb={verb} />
      <ObjectName of={object} home={home} plain />
      <span className={styles.whys}>{times > 1 ? `${times} times` : changes[0]!.why}</span>
    </>
  );
  const diffs = changes.filter((c) => c.diff);
  if (diffs.length === 0) return <p className={styles.touch}>{head}</p>;
  return (
    <details>
      <summary className={styles.touch}>{head}</summary>
      {diffs.map((c, i) => <DiffView key={i} diff={c.diff} />)}
    </details>
  );
}
