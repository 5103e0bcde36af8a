import { withValue, type ListQuery } from "~/api/query";
import { Button } from "../button/Button";
import { Icon } from "../icon/Icon";
import { fieldTitle, valueTitle } from "./FacetPanel";
import styles from "./Chosen.module.css";

// Chosen is a line of what narrows the list, each to be taken away.
export function Chosen({ query, onQuery }: { query: ListQuery; onQuery: (query: ListQuery) => void }) {
  const chosen = Object.entries(query.where).flatMap(([field, values]) => values.map((value) => ({ field, value })));
  if (chosen.length === 0 && !query.labels) return null;
  return (
    <ul className={styles.chosen} aria-label="What narrows the list">
      {chosen.map(({ field, value }) => (
        <li key={field + value}>
          <button type="button" onClick={() => onQuery(withValue(query, field, value, false))} aria-label={`Remove ${fieldTitle(field)} ${valueTitle(field, value)}`}>
            <span className="quiet">{fieldTitle(field)}</span> {valueTitle(field, value)} <Icon name="close" size={12} />
          </button>
        </li>
      ))}
      {query.labels && (
        <li>
          <button type="button" onClick={() => onQuery({ ...query, labels: "" })} aria-label={`Remove labels ${query.labels}`}>
            <span className="quiet">Labels</span> <code>{query.labels}</code> <Icon name="close" size={12} />
          </button>
        </li>
      )}
      <li><Button size="s" look="ghost" onPress={() => onQuery({ search: "", where: {}, labels: "", order: query.order })}>Clear all</Button></li>
    </ul>
  );
}
