import { useState } from "react";
import { withValue, type ListQuery } from "~/api/query";
import type { Facet } from "~/gen/plumb/v1/common_pb";
import { Checkbox } from "../field/Field";
import { HealthMark, SyncMark } from "../state/State";
import { Icon } from "../icon/Icon";
import styles from "./FacetPanel.module.css";

const few = 6;
// States stand in the order of how much they need somebody; other values by their number.
const ranks: Record<string, string[]> = { health: ["Degraded", "Missing", "Unknown", "Progressing", "Suspended", "Healthy"], sync: ["OutOfSync", "Unknown", "Synced"] };

export interface FacetPanelProps {
  facets: readonly Facet[];
  fields: readonly string[]; // which to show, in this order
  query: ListQuery;
  onQuery: (query: ListQuery) => void;
}

// FacetPanel narrows a list by the values its rows have, with how many have each.
export function FacetPanel({ facets, fields, query, onQuery }: FacetPanelProps) {
  return (
    <div className={styles.panel}>
      {fields.map((field) => {
        const facet = facets.find((f) => f.field === field);
        const chosen = query.where[field] ?? [];
        // A chosen value stays visible when no row has it any more.
        const values = [...(facet?.values ?? []), ...chosen.filter((v) => !facet?.values.some((f) => f.value === v)).map((value) => ({ value, count: 0 }))];
        const first = ranks[field];
        if (first) values.sort((a, b) => first.indexOf(a.value) - first.indexOf(b.value));
        if (values.length === 0 || (values.length === 1 && chosen.length === 0 && values[0]!.value === "")) return null;
        return <FieldValues key={field} field={field} values={values} chosen={chosen} onChoose={(value, on) => onQuery(withValue(query, field, value, on))} onClear={() => onQuery({ ...query, where: Object.fromEntries(Object.entries(query.where).filter(([f]) => f !== field)) })} />;
      })}
    </div>
  );
}

function FieldValues({ field, values, chosen, onChoose, onClear }: { field: string; values: { value: string; count: number }[]; chosen: string[]; onChoose: (value: string, on: boolean) => void; onClear: () => void }) {
  const [all, setAll] = useState(false);
  const [words, setWords] = useState("");
  const matching = values.filter((v) => valueTitle(field, v.value).toLowerCase().includes(words.toLowerCase()));
  const visible = all ? matching : matching.filter((v, i) => i < few || chosen.includes(v.value));
  return (
    <details className={styles.field} open>
      <summary>
        <Icon name="right" size={12} />
        <span>{fieldTitle(field)}</span>
        {chosen.length > 0 && <button type="button" onClick={(event) => (event.preventDefault(), onClear())} aria-label={`Clear ${fieldTitle(field)}`}>Clear</button>}
      </summary>
      {all && values.length > 12 && <input className={styles.words} value={words} onChange={(e) => setWords(e.target.value)} placeholder="Find…" aria-label={`Find in ${fieldTitle(field)}`} />}
      <div role="group" aria-label={fieldTitle(field)} className={all ? styles.long : undefined}>
        {visible.map(({ value, count }) => (
          <div key={value} className={styles.value}>
            <Checkbox checked={chosen.includes(value)} onChange={(on) => onChoose(value, on)}>
              {field === "health" && <HealthMark state={value} silent />}
              {field === "sync" && <SyncMark state={value} silent />}
              <span className="cut" title={value}>{valueTitle(field, value)}</span>
            </Checkbox>
            <span className={styles.count}>{count.toLocaleString()}</span>
          </div>
        ))}
      </div>
      {matching.length > few && <button type="button" className={styles.more} onClick={() => setAll(!all)}>{all ? "Fewer" : `${matching.length - few} more`}</button>}
    </details>
  );
}

const titles: Record<string, string> = { kind: "Kind", dialect: "Dialect", cluster: "Cluster", namespace: "Namespace", project: "Project", source: "Source", health: "Health", sync: "Sync", suspended: "Suspended", reason: "Reason", held: "Waits for approval", actor: "Who", result: "Result", action: "Action", delivery: "Delivery", made_by: "Made by", failed: "Failed" };

// fieldTitle is what people call a field.
export function fieldTitle(field: string): string {
  return titles[field] ?? field[0]!.toUpperCase() + field.slice(1);
}

// valueTitle is what people call a value of a field.
export function valueTitle(field: string, value: string): string {
  if (value === "") return field === "actor" ? "Plumb itself" : "None";
  if (field === "dialect") return { flux: "Flux", argo: "Argo CD" }[value] ?? value;
  if (field === "source") return value.replace(/^\w+:\/\//, "");
  if (field === "sync" && value === "OutOfSync") return "Out of sync";
  if (value === "true") return "Yes";
  if (value === "false") return "No";
  return value;
}
