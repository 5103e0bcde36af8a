import type { Activity } from "~/gen/plumb/v1/fleet_pb";
import { Icon } from "~/parts/icon/Icon";
import { ObjectName } from "~/parts/object/ObjectName";
import { Revision } from "~/parts/revision/Revision";
import type { Column } from "~/parts/table/VirtualTable";
import { TimeAgo } from "~/parts/time/TimeAgo";
import styles from "./Activity.module.css";

// columnsFor has the columns; choosing an actor narrows the list to what they did.
export function columnsFor(onActor: (actor: string) => void): readonly Column<Activity>[] {
  return [
    { id: "time", title: "When", width: "76px", cell: (a) => <TimeAgo time={a.time} /> },
    { id: "actor", title: "Who", width: "minmax(120px, 0.8fr)", cell: (a) => <button type="button" tabIndex={-1} className={styles.who} onClick={() => onActor(a.actor)} title={`Only what ${a.actor || "Plumb itself"} did`}><Icon name={a.actor ? "person" : "sync"} size={14} /><span className="cut">{a.actor || "Plumb"}</span></button> },
    { id: "action", title: "Action", width: "110px", cell: (a) => <ActionTag activity={a} /> },
    { id: "object", title: "Object", width: "minmax(230px, 1.9fr)", cell: (a) => (concerns(a) ? <ObjectName of={a.object!} /> : <span className="quiet">–</span>) },
    { id: "result", title: "Result", width: "minmax(180px, 1.7fr)", cell: (a) => <Result activity={a} /> },
    { id: "revision", title: "Revision", width: "150px", spare: 2, cell: (a) => <Revision revision={a.revision} /> },
    { id: "address", title: "From", width: "120px", spare: 1, cell: (a) => (a.address ? <code className="quiet">{a.address}</code> : <span className="quiet">–</span>) },
  ];
}

// What concerns nothing declared is entered under the account of who did it.
function concerns(a: Activity): boolean {
  return !!a.object && a.object.kind !== "Account";
}

function ActionTag({ activity: a }: { activity: Activity }) {
  return <span className={styles.action} data-failed={a.failed || undefined}>{actionTitle(a.action)}</span>;
}

// actionTitle is an action in words.
export function actionTitle(action: string): string {
  return ({ run: "delivered", login: "signed in", logout: "signed out", objectAction: "object action", object_action: "object action" })[action] ?? action;
}

function Result({ activity: a }: { activity: Activity }) {
  const changes = a.changes > 0 ? `${a.changes} ${a.changes === 1 ? "change" : "changes"}` : "";
  const rest = [changes, a.message].filter(Boolean).join(" · ");
  return (
    <span className={styles.result} data-failed={a.failed || undefined} title={`${a.result}${a.message && `: ${a.message}`}`}>
      <Icon name={a.failed ? "error" : "check"} size={14} />
      <b>{a.result}</b>
      <span>{rest}</span>
    </span>
  );
}

// Compact is an entry on a phone.
export function Compact({ activity: a }: { activity: Activity }) {
  return (
    <span className={styles.compact}>
      <span><ActionTag activity={a} /><strong className="cut">{concerns(a) ? a.object!.name : a.actor}</strong><TimeAgo time={a.time} /></span>
      <span className="quiet"><span className="cut">{[a.actor || "Plumb", a.address, concerns(a) && `${a.object!.kind} in ${a.object!.namespace}`].filter(Boolean).join(" · ")}</span></span>
      <Result activity={a} />
    </span>
  );
}
