// How the cluster differs from what is wanted, object by object.
import { useMemo, useState } from "react";
import { keyOf } from "~/api/refs";
import type { ObjectDiff } from "~/gen/plumb/v1/deliveries_pb";
import { VerbTag } from "~/parts/action/ChangeList";
import { Button, ButtonLink, IconButton } from "~/parts/button/Button";
import { DiffView } from "~/parts/diff/DiffView";
import { FaultNote } from "~/parts/fault/FaultNote";
import { Choice, Switch } from "~/parts/field/Field";
import { Icon } from "~/parts/icon/Icon";
import { ObjectName } from "~/parts/object/ObjectName";
import { Revision } from "~/parts/revision/Revision";
import { Bone, Empty, TroubleState } from "~/parts/states/States";
import { useNarrow } from "~/parts/table/useNarrow";
import { useAddress, refOfKey } from "../address";
import { FilePlace } from "../overview/Explanation";
import { useFollowed, type Shown } from "../useDelivery";
import { comparisons, sorted, standing, summary, textsOf, type Comparison } from "./compared";
import styles from "./Diff.module.css";

const openAtFirst = 8;

export function DiffTab({ shown }: { shown: Shown }) {
  const address = useAddress();
  const narrow = useNarrow();
  const { ref } = shown;
  const all = address.get("all") === "yes";
  const only = address.get("only");
  const { data, trouble, loading, refresh } = useFollowed(`diff ${keyOf(ref)} ${all} ${only}`, shown.version, (api, signal) => api.deliveries.getDiff({ ref, all, object: refOfKey(only) }, { signal }));
  const comparison = comparisons.find((c) => c.id === address.get("compare")) ?? comparisons[0]!;
  const split = address.get("view") === "split" && !narrow;
  const objects = useMemo(() => sorted(data?.objects ?? []), [data]);

  if (!data) return trouble ? <TroubleState trouble={trouble} retry={() => void refresh()} /> : <Waiting />;
  return (
    <div className={styles.tab}>
      <div className={styles.bar}>
        <Choice label="Compare" value={comparison.id} onChange={(id: Comparison) => address.set({ compare: id === "predicted" ? null : id })} options={comparisons.map((c) => ({ id: c.id, label: c.label, text: `${c.label}: ${c.help}` }))} />
        {!narrow && <Choice label="Show" value={split ? "split" : "unified"} onChange={(id) => address.set({ view: id === "split" ? id : null })} options={[{ id: "unified", label: "Unified" }, { id: "split", label: "Side by side" }]} />}
        <Switch on={all} onChange={(on) => address.set({ all: on ? "yes" : null })}>Objects without a difference</Switch>
        <span className={styles.end}>
          {data.revision && <span className="quiet">against <Revision revision={data.revision} /></span>}
          <Button size="s" icon="refresh" busy={loading} onPress={() => void refresh()}>Compare again</Button>
        </span>
      </div>
      {only && <p className={styles.only}>Only one object is compared. <ButtonLink size="s" href={address.href({ only: null })}>Compare all</ButtonLink></p>}
      {data.failed.length > 0 && (
        <section className={styles.failed} aria-label="Could not be compared">
          <h2>{data.failed.length === 1 ? "One object" : `${data.failed.length} objects`} could not be compared</h2>
          {data.failed.map((fault, i) => <FaultNote key={i} fault={fault} />)}
        </section>
      )}
      {objects.length === 0 && data.failed.length === 0 ? (
        <Empty icon="check" title="Nothing differs"><p>Every object is in the cluster as the source wants it. Applying would change nothing.</p></Empty>
      ) : (
        <>
          {objects.length > 0 && <p className={styles.sum} role="status">{summary(data).map(([word, count]) => <span key={word}><b>{count}</b> {words[word] ?? word}</span>)}</p>}
          <ol className={styles.objects}>
            {objects.map((diff, i) => <ObjectCard key={keyOf(diff.object)} diff={diff} comparison={comparison.id} split={split} first={i < openAtFirst || !!only} shown={shown} />)}
          </ol>
        </>
      )}
    </div>
  );
}

const words: Record<string, string> = { create: "would be created", apply: "would change", recreate: "would be recreated", delete: "would be deleted", adopt: "would be adopted", forget: "would be let go", ignored: "ignored by a rule", same: "without a difference", failed: "not compared" };

function ObjectCard({ diff, comparison, split, first, shown }: { diff: ObjectDiff; comparison: Comparison; split: boolean; first: boolean; shown: Shown }) {
  const address = useAddress();
  const what = standing(diff);
  const [open, setOpen] = useState(first && what !== "same");
  const [before, after] = textsOf(diff, comparison);
  const delivery = shown.delivery;
  return (
    <li className={styles.object} data-what={what}>
      <header>
        <IconButton size="s" icon={open ? "down" : "right"} label={open ? "Fold" : "Unfold"} aria-expanded={open} onPress={() => setOpen(!open)} />
        <VerbTag verb={what} />
        <ObjectName of={diff.object!} home={delivery?.targetNamespace} href={address.href({ object: keyOf(diff.object) })} />
        {diff.change?.why && <span className="quiet">{diff.change.why}</span>}
        {diff.file && <span className={styles.file}><FilePlace url={delivery?.source?.url || shown.detail?.sources[0]?.source?.url || ""} revision={delivery?.revision ?? ""} commit={delivery?.commit?.hash} file={diff.file} line={diff.line} /></span>}
      </header>
      {open && (
        <>
          {diff.ignored && <p className={styles.ignored}><Icon name="info" size={14} />It differs only in fields that a rule leaves to others; applying leaves them alone.</p>}
          {before === after ? <p className={styles.same}>{comparison === "predicted" ? "Applying it would change nothing." : "Both are the same."}</p> : <DiffView before={before} after={after} split={split} label={`${diff.object!.kind} ${diff.object!.name}`} />}
        </>
      )}
    </li>
  );
}

function Waiting() {
  return (
    <div className={styles.tab} role="status" aria-label="Comparing with the cluster">
      <div className={styles.bar}><Bone width={360} height={30} /><Bone width={160} height={30} /></div>
      {[220, 160].map((height) => <Bone key={height} height={height} />)}
    </div>
  );
}
