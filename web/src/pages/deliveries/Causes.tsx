import { create } from "@bufbuild/protobuf";
import { FieldMaskSchema } from "@bufbuild/protobuf/wkt";
import { memo, useEffect, useRef } from "react";
import type { Api } from "~/api/api";
import { queryForServer, type ListQuery } from "~/api/query";
import { useCall } from "~/api/useCall";
import type { Delivery } from "~/gen/plumb/v1/deliveries_pb";
import { Icon } from "~/parts/icon/Icon";
import { Bone } from "~/parts/states/States";
import { healthMark } from "~/parts/state/marks";
import { HealthMark } from "~/parts/state/State";
import styles from "./Causes.module.css";

const wrong = ["Degraded", "Missing", "Unknown"];
const shown = 4;
const examples = 3;
const calmKey = "plumb.calm";

interface Cause {
  reason: string;
  count: number;
  health: string;
  message: string; // of one of them
  where: string; // which they are
}

// Causes is what is wrong, by reason, most frequent first: a hundred failing
// deliveries mostly have three causes. It asks when the list is ready, and again
// when count changes.
export const Causes = memo(function Causes({ query, ready, count, onQuery }: { query: ListQuery; ready: boolean; count: number; onQuery: (query: ListQuery) => void }) {
  const scope: ListQuery = { ...query, order: "", where: { ...query.where, health: wrong } };
  delete scope.where.reason;
  const answer = useCall(ready ? `causes:${JSON.stringify(scope)}` : null, (api, signal) => causesOf(api, scope, signal), { keep: true });
  const { refresh } = answer;
  const told = useRef<number>(undefined); // the count when it was asked last
  useEffect(() => {
    if (!ready || told.current === count) return;
    const first = told.current === undefined;
    told.current = count;
    if (first) return;
    const timer = setTimeout(() => void refresh(), 1_500);
    return () => clearTimeout(timer);
  }, [ready, count, refresh]);

  const causes = answer.data ?? [];
  const chosen = query.where.reason ?? [];
  const choose = (reason: string) => {
    const { reason: _, ...rest } = query.where;
    onQuery(chosen.includes(reason) ? { ...query, where: rest } : { ...query, where: { ...rest, reason: [reason] } });
  };
  // What was the case the last time has the room that is kept for it.
  useEffect(() => {
    if (answer.data) localStorage.setItem(calmKey, String(answer.data.length === 0));
  }, [answer.data]);
  if (!answer.data && answer.trouble) return null;
  if (!answer.data && localStorage.getItem(calmKey) === "true") return <section className={styles.calm} aria-label="What is wrong" aria-busy="true" />;
  if (answer.data && causes.length === 0)
    return (
      <section className={styles.calm} aria-label="What is wrong">
        <Icon name="check" />
        <span>Nothing is wrong{Object.keys(query.where).length > 0 || query.search ? " with what you look at" : ""}.</span>
      </section>
    );
  return (
    <section className={styles.causes} aria-label="What is wrong">
      {!answer.data && Array.from({ length: shown }, (_, i) => <div key={i} className={styles.cause}><Bone width="50%" /><Bone width="90%" /></div>)}
      {causes.slice(0, shown).map((cause) => (
        <button key={cause.reason} type="button" className={styles.cause} data-tone={healthMark(cause.health).tone} aria-pressed={chosen.includes(cause.reason)} onClick={() => choose(cause.reason)}>
          <span className={styles.head}>
            <HealthMark state={cause.health} />
            <strong className="cut">{cause.reason || "No reason given"}</strong>
            <span className={styles.count}>{cause.count.toLocaleString()}</span>
          </span>
          <span className={styles.message} title={cause.message}>{cause.message}</span>
          <span className={styles.where}>{cause.where}</span>
        </button>
      ))}
    </section>
  );
});

// causesOf asks how many there are of each reason, and for some of the most frequent.
async function causesOf(api: Api, scope: ListQuery, signal: AbortSignal): Promise<Cause[]> {
  const readMask = create(FieldMaskSchema, { paths: ["ref", "message", "health"] });
  const ask = (query: ListQuery, size: number, facets: boolean) => api.deliveries.listDeliveries({ query: queryForServer(query, { size }), readMask, facets }, { signal });
  const counted = await ask(scope, 1, true);
  const reasons = (counted.facets.find((f) => f.field === "reason")?.values ?? []).slice(0, shown);
  return Promise.all(
    reasons.map(async ({ value, count }) => {
      const { deliveries, totalSize } = await ask({ ...scope, where: { ...scope.where, reason: [value] } }, examples, false);
      const example = deliveries[0];
      return { reason: value, count, health: example?.health?.state ?? "Unknown", message: example?.message ?? "", where: namesOf(deliveries, totalSize) };
    }),
  );
}

// namesOf says which they are.
function namesOf(rows: readonly Delivery[], total: number): string {
  const names = rows.slice(0, total > 2 ? 1 : 2).map((d) => d.ref!.name);
  return total > names.length ? `${names.join(", ")} and ${total - names.length} more` : names.join(", ");
}
