// What was delivered before: who, what, when, and the way back.
import { timestampDate } from "@bufbuild/protobuf/wkt";
import { keyOf } from "~/api/refs";
import type { GetDeliveryResponse, HistoryEntry } from "~/gen/plumb/v1/deliveries_pb";
import { ChangeList } from "~/parts/action/ChangeList";
import { Button, PermittedButton } from "~/parts/button/Button";
import { Choice } from "~/parts/field/Field";
import { Icon } from "~/parts/icon/Icon";
import { Revision } from "~/parts/revision/Revision";
import { HealthMark } from "~/parts/state/State";
import { Bone, Empty, TroubleState } from "~/parts/states/States";
import { exactTime } from "~/parts/time/clock";
import { useAddress } from "../address";
import { CommitWords } from "../header/Header";
import type { Asked } from "../header/ActionWindow";
import { permissionOf } from "../header/actions";
import { linkToSource } from "../overview/sourcelink";
import { useFollowed, type Shown } from "../useDelivery";
import { Between } from "./Between";
import { between, idOf } from "./between";
import { byDays, dayWords, ending, folded, type Told } from "./entries";
import styles from "./History.module.css";

const page = 50;

export function HistoryTab({ shown, onAsk }: { shown: Shown; onAsk: (asked: Asked) => void }) {
  const address = useAddress();
  const { ref, detail } = shown;
  const pageSize = Number(address.get("entries")) || page;
  const { data, trouble, loading, refresh } = useFollowed(`history ${keyOf(ref)} ${pageSize}`, shown.version, (api, signal) => api.deliveries.getHistory({ ref, pageSize }, { signal }));
  if (!data) return trouble ? <TroubleState trouble={trouble} retry={() => void refresh()} /> : <Waiting />;
  const which = address.get("which") === "failed" || address.get("which") === "changes" ? address.get("which") : "all";
  const entries = data.entries.filter((e) => (which === "failed" ? e.failed : which === "changes" ? e.changes.length > 0 || e.omitted > 0 : true));
  if (data.entries.length === 0) return <Empty icon="history" title="Nothing was delivered yet"><p>Every run is written down here: who asked for it, what it changed, and how it ended.</p></Empty>;
  const [from, to] = [address.get("from"), address.get("to")];
  const found = to ? between(data.entries, from, to) : undefined;
  // The first that is chosen waits for a second; choosing it again lets go of it.
  const compare = (entry: HistoryEntry) => {
    const id = idOf(entry);
    address.set(!from || to ? { from: id, to: null } : id === from ? { from: null } : { to: id });
  };
  const sourceUrl = detail?.delivery?.source?.url || detail?.sources[0]?.source?.url || "";
  return (
    <div className={styles.tab}>
      {found && <Between found={found} url={sourceUrl} home={detail?.delivery?.targetNamespace ?? ""} onClose={() => address.set({ from: null, to: null })} />}
      <div className={styles.bar}>
        <Choice label="Which" value={which} onChange={(id) => address.set({ which: id === "all" ? null : id })} options={[{ id: "all", label: "All" }, { id: "changes", label: "With changes" }, { id: "failed", label: "Failed" }]} />
        <span className="quiet" role="status">{from && !to ? "Choose what to compare it with" : which === "all" ? `The last ${data.entries.length}` : `${entries.length} of the last ${data.entries.length}`}</span>
      </div>
      {entries.length === 0 && <Empty title={which === "failed" ? "None of them failed" : "None of them changed anything"} />}
      {byDays(folded(entries)).map(({ day, told }, i) => (
        <div key={`${day} ${i}`} className={styles.day}>
          <h2>{dayWords(day)}</h2>
          <ol>{told.map((one, n) => <Entry key={one.entry.id + n} told={one} detail={detail} onAsk={onAsk} application={ref.kind === "Application"} comparing={from && !to ? from : ""} onCompare={data.entries.length > 1 ? compare : undefined} sourceUrl={sourceUrl} newest={one.entry === data.entries[0]} />)}</ol>
        </div>
      ))}
      {data.entries.length >= pageSize && pageSize < 500 && <div className={styles.more}><Button busy={loading} onPress={() => address.set({ entries: String(pageSize + 100) })}>Show older ones</Button></div>}
    </div>
  );
}

interface EntryProps {
  told: Told;
  detail: GetDeliveryResponse | undefined;
  application: boolean;
  newest: boolean;
  sourceUrl: string;
  comparing: string; // the entry that waits for another to be compared with
  onCompare?: (entry: HistoryEntry) => void;
  onAsk: (asked: Asked) => void;
}

function Entry({ told: { entry, times, first }, detail, application, newest, sourceUrl, comparing, onCompare, onAsk }: EntryProps) {
  const { revision, failed, message, actor, changes, omitted, chart, chartVersion, appVersion } = entry;
  const current = detail?.delivery?.revision === revision ? detail.delivery.commit : undefined;
  const commit = entry.commit ?? current;
  const { word, state } = ending(entry, newest && !!detail?.delivery?.running);
  const quarantined = !!detail?.quarantined && detail.quarantined === revision;
  const url = entry.revisionUrl || linkToSource({ url: sourceUrl, revision, commit: commit?.hash });
  const waits = comparing === idOf(entry);
  return (
    <li className={styles.entry} data-compared={waits || undefined}>
      <time className={styles.time} dateTime={entry.time && timestampDate(entry.time).toISOString()} title={entry.time && exactTime(entry.time)}>{entry.time && clock(entry)}</time>
      <span className={styles.mark}>{state ? <HealthMark state={state} silent /> : <i />}</span>
      <div className={styles.what}>
        <p className={styles.head}>
          <b data-failed={failed || undefined}>{word}</b>
          {times > 1 && <span className={styles.times} title={`Since ${first.time ? exactTime(first.time) : ""}`}>{times} times since {clock(first)}</span>}
          <span className="quiet">{actor ? `by ${actor.replace(/ <.*>$/, "")}` : "by Plumb itself"}</span>
          {quarantined && <span className={styles.quarantined}><Icon name="hand" size={12} />in quarantine</span>}
        </p>
        {revision && (
          <p className={styles.commit}>
            <Revision revision={revision} url={url} icon copy />
            {commit && <CommitWords commit={commit} />}
            {chart && <span>{chart} {chartVersion}</span>}
            {appVersion && <span className="quiet">brings {appVersion}</span>}
          </p>
        )}
        {message && <p className={styles.message}>{message}</p>}
        {(changes.length > 0 || omitted > 0) && (
          <details className={styles.changes}>
            <summary><Icon name="right" size={12} />{changeWords(changes.length + omitted)}</summary>
            <ChangeList changes={changes} />
            {omitted > 0 && <p className="quiet">And {omitted} more that were not kept.</p>}
          </details>
        )}
      </div>
      <div className={styles.do}>
        {onCompare && <Button size="s" look="ghost" icon="diff" aria-pressed={waits} data-waited={comparing || undefined} onPress={() => onCompare(entry)}>{comparing && !waits ? "Compare with this" : "Compare"}</Button>}
        {quarantined && <PermittedButton size="s" permission={permissionOf("lift", detail)} onPress={() => onAsk({ name: "lift" })}>Lift quarantine…</PermittedButton>}
        {application && entry.id && entry.canRollback && <PermittedButton size="s" icon="rollback" permission={entry.canRollback} onPress={() => onAsk({ name: "rollback", historyId: entry.id })}>Roll back…</PermittedButton>}
      </div>
    </li>
  );
}

function clock(entry: HistoryEntry): string {
  return entry.time ? timestampDate(entry.time).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" }) : "";
}

function changeWords(count: number): string {
  return count === 1 ? "1 object changed" : `${count} objects changed`;
}

function Waiting() {
  return (
    <div className={styles.tab} role="status" aria-label="Loading history">
      <div className={styles.bar}><Bone width={210} height={30} /></div>
      {[0, 1, 2, 3, 4].map((i) => <div key={i} className={styles.bones}><Bone width={160} /><Bone width="46%" /><Bone width="30%" /></div>)}
    </div>
  );
}
