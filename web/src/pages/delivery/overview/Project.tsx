// What the project of an Application says of it: when it may be synced, and what
// is beside its objects.
import { keyOf } from "~/api/refs";
import type { ObjectRef } from "~/gen/plumb/v1/common_pb";
import type { SyncWindow, SyncWindows } from "~/gen/plumb/v1/deliveries_pb";
import { Icon } from "~/parts/icon/Icon";
import { ObjectName } from "~/parts/object/ObjectName";
import { Panel } from "~/parts/panel/Panel";
import { exactTime } from "~/parts/time/clock";
import { sentence } from "~/parts/words/sentence";
import { shortDuration } from "./windows";
import styles from "./Overview.module.css";

export function Windows({ windows }: { windows: SyncWindows }) {
  const { automatic, manual, why, next } = windows;
  return (
    <Panel title="Sync windows" note={String(windows.windows.length)}>
      <p className={styles.verdict} data-tone={automatic ? "good" : "warn"}>
        <Icon name={automatic ? "check" : "lock"} size={14} />
        <span>{automatic ? "It may be synced now." : manual ? "Automatic syncs are blocked now; manual ones are not." : "Syncs are blocked now."}</span>
      </p>
      {why && <p className="quiet">{sentence(why)}</p>}
      {next && <p className="quiet">At least until {exactTime(next)}</p>}
      <ul className={styles.windows}>{windows.windows.map((w, i) => <li key={i}><Window window={w} /></li>)}</ul>
    </Panel>
  );
}

function Window({ window: { deny, schedule, duration, timeZone, manual, description } }: { window: SyncWindow }) {
  return (
    <>
      <b>{deny ? "Denies" : "Allows"}</b> <code>{schedule}</code> for {shortDuration(duration)}
      {timeZone && `, ${timeZone}`}
      {manual && <span className="quiet">, manual syncs allowed</span>}
      {description && <span className="quiet"> · {description}</span>}
    </>
  );
}

export function Orphans({ orphans, home }: { orphans: readonly ObjectRef[]; home: string | undefined }) {
  return (
    <Panel title="Orphaned objects" note={String(orphans.length)} flush>
      <p className={styles.nothing}>They are in its namespace, and nothing delivers them.</p>
      <ul className={styles.relatives} tabIndex={orphans.length > 8 ? 0 : undefined} aria-label="Orphaned objects">{orphans.map((o) => <li key={keyOf(o)}><ObjectName of={o} home={home} plain /></li>)}</ul>
    </Panel>
  );
}
