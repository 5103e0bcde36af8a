import { memo, useEffect, useState } from "react";
import type { ListQuery } from "~/api/query";
import type { Facet } from "~/gen/plumb/v1/common_pb";
import { FacetPanel } from "~/parts/facets/FacetPanel";
import { TextField } from "~/parts/field/Field";
import { fields } from "./address";
import styles from "./Filters.module.css";

export interface FiltersProps {
  facets: readonly Facet[];
  query: ListQuery;
  onQuery: (query: ListQuery) => void;
  labelError?: string;
}

// Filters is the panel beside the list.
export const Filters = memo(function Filters({ facets, query, onQuery, labelError }: FiltersProps) {
  const [labels, setLabels] = useState(query.labels);
  useEffect(() => setLabels(query.labels), [query.labels]);
  const apply = () => labels.trim() !== query.labels && onQuery({ ...query, labels: labels.trim() });
  return (
    <div className={styles.filters}>
      <form className={styles.labels} onSubmit={(event) => (event.preventDefault(), apply())} onBlur={apply}>
        <TextField label="Labels" mono placeholder="team=payments" value={labels} onChange={setLabels} error={labelError} />
      </form>
      <FacetPanel facets={facets} fields={fields.filter((f) => f !== "held" && f !== "suspended")} query={query} onQuery={onQuery} />
    </div>
  );
});
