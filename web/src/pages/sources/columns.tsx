import { Link } from "wouter";
import { sourcePath } from "~/api/refs";
import type { Source } from "~/gen/plumb/v1/fleet_pb";
import { Revision } from "~/parts/revision/Revision";
import { HealthBadge, HealthMark } from "~/parts/state/State";
import type { Column } from "~/parts/table/VirtualTable";
import { TimeAgo } from "~/parts/time/TimeAgo";
import styles from "./Sources.module.css";

export const columns: readonly Column<Source>[] = [
  { id: "name", title: "Name", width: "minmax(206px, 1.4fr)", order: "name", cell: (s) => <Name source={s} /> },
  { id: "kind", title: "Kind", width: "124px", spare: 2, order: "kind", cell: (s) => <span className="quiet">{s.ref!.kind}</span> },
  { id: "health", title: "Health", width: "122px", order: "health", cell: (s) => <HealthBadge health={s.health} /> },
  { id: "url", title: "URL or error", width: "minmax(196px, 2fr)", order: "url", cell: (s) => <Place source={s} /> },
  { id: "follows", title: "Target", width: "110px", spare: 1, cell: (s) => <code>{s.targetRevision || "–"}</code> },
  { id: "revision", title: "Revision", width: "160px", spare: 3, order: "revision", cell: (s) => <Revision revision={s.revision} /> },
  { id: "readers", title: "Read by", width: "84px", order: "readers", end: true, cell: (s) => s.readers.toLocaleString() },
  { id: "fetched", title: "Fetched", width: "84px", order: "fetched", end: true, cell: (s) => <TimeAgo time={s.fetched} /> },
];

function Name({ source: s }: { source: Source }) {
  return (
    <Link className={styles.name} href={sourcePath(s.ref!)} tabIndex={-1} title={`${s.ref!.kind} ${s.ref!.namespace}/${s.ref!.name}`}>
      <span className="cut">{s.ref!.name}</span>
      <span className={styles.namespace}>{s.ref!.namespace}</span>
    </Link>
  );
}

// Place is the address; of a source that fails, what is wrong with it.
function Place({ source: s }: { source: Source }) {
  if (s.health?.state !== "Healthy" && s.health?.state !== "Suspended" && s.message)
    return <span className={styles.wrong} title={s.message}><b>{s.reason}</b><span>{s.message}</span></span>;
  return <span className={styles.url} title={s.url}>{shortUrl(s.url)}</span>;
}

export function shortUrl(url: string): string {
  return url.replace(/^(https?|ssh|oci):\/\//, "") || "–";
}

// Compact is a row on a phone.
export function Compact({ source: s }: { source: Source }) {
  return (
    <span className={styles.compact}>
      <span className={styles.first}>
        <HealthMark state={s.health?.state} />
        <strong className="cut">{s.ref!.name}</strong>
        <TimeAgo time={s.fetched} />
      </span>
      <span className={styles.second}>{s.ref!.kind} · {s.ref!.namespace} · read by {s.readers}</span>
      <Place source={s} />
    </span>
  );
}
