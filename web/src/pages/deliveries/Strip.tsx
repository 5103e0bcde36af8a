import { memo } from "react";
import type { ListQuery } from "~/api/query";
import type { Facet } from "~/gen/plumb/v1/common_pb";
import { Bone } from "~/parts/states/States";
import { healthMark } from "~/parts/state/marks";
import { HealthMark, SyncMark } from "~/parts/state/State";
import { Icon } from "~/parts/icon/Icon";
import styles from "./Strip.module.css";

const order = ["Degraded", "Missing", "Unknown", "Progressing", "Suspended", "Healthy"] as const;

// Strip counts what the rest of the query lets through by health, and what is
// out of sync or waits for an approval; each number narrows the list to itself.
// unknown: the numbers are not to be had.
export const Strip = memo(function Strip({ facets, unknown, query, onQuery }: { facets: readonly Facet[] | undefined; unknown: boolean; query: ListQuery; onQuery: (query: ListQuery) => void }) {
  const count = (field: string, value: string) => facets?.find((f) => f.field === field)?.values.find((v) => v.value === value)?.count ?? 0;
  const all = order.reduce((sum, state) => sum + count("health", state), 0);
  const only = (field: string, value: string) => {
    const { [field]: now, ...rest } = query.where;
    const chosen = now?.length === 1 && now[0] === value;
    onQuery({ ...query, where: chosen ? rest : { ...rest, [field]: [value] } });
  };
  const cell = (field: string, value: string, label: string, mark: React.ReactNode) => {
    const n = count(field, value);
    const chosen = query.where[field]?.includes(value) ?? false;
    return (
      <button key={field + value} type="button" className={styles.cell} aria-pressed={chosen} data-none={n === 0 || undefined} onClick={() => only(field, value)}>
        <span className={styles.number}>{facets ? n.toLocaleString() : unknown ? "–" : <Bone width={28} height={16} />}</span>
        <span className={styles.label}>{mark}{label}</span>
      </button>
    );
  };
  return (
    <section className={styles.strip} aria-label="Counts">
      <div className={styles.cells}>
        {order.map((state) => cell("health", state, state, <HealthMark state={state} silent />))}
        <span className={styles.rule} />
        {cell("sync", "OutOfSync", "Out of sync", <SyncMark state="OutOfSync" silent />)}
        {cell("held", "true", "To approve", <span className={styles.hand}><Icon name="hand" size={14} /></span>)}
      </div>
      <div className={styles.shares} aria-hidden="true">
        {order.map((state) => <i key={state} data-tone={healthMark(state).tone} data-state={state} style={{ flexGrow: all > 0 ? Math.max(count("health", state), count("health", state) > 0 ? all * 0.004 : 0) : 0 }} />)}
      </div>
    </section>
  );
});
