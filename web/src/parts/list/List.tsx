// What surrounds a list that fills its page: search, filters, what is chosen of
// them, and a line below. The rows are the caller's.
import { useRef, useState, type ReactNode } from "react";
import { isNarrowed, type ListQuery } from "~/api/query";
import type { Trouble } from "~/api/trouble";
import { useKeys } from "~/app/keys";
import type { Facet } from "~/gen/plumb/v1/common_pb";
import { Button } from "../button/Button";
import { Dialog } from "../dialog/Dialog";
import { Chosen } from "../facets/Chosen";
import { FacetPanel } from "../facets/FacetPanel";
import { Icon, type IconName } from "../icon/Icon";
import { Empty, TroubleState } from "../states/States";
import { useNarrow } from "../table/useNarrow";
import { WordsField } from "../words/WordsField";
import styles from "./List.module.css";

export interface ListProps {
  name: string; // of what is listed, in the plural and small: "sources"
  placeholder: string;
  query: ListQuery;
  onQuery: (query: ListQuery) => void;
  filters?: { facets: readonly Facet[]; fields: readonly string[] };
  tools?: ReactNode; // beside the search field
  state: { ready: boolean; trouble?: Trouble; total: number };
  pending?: boolean;
  retry: () => void;
  foot: ReactNode;
  none: { icon: IconName; title: string; text: ReactNode }; // where there is nothing at all
  children: ReactNode; // rows, or skeletons of them
}

const nothing = { search: "", where: {}, labels: "", order: "" };

export function List({ name, placeholder, query, onQuery, filters, tools, state, pending, retry, foot, none, children }: ListProps) {
  const narrow = useNarrow();
  const [open, setOpen] = useFilters(name);
  const search = useRef<HTMLInputElement>(null);
  useKeys(name[0]!.toUpperCase() + name.slice(1), [
    { keys: "/", label: `Search ${name}`, run: () => search.current?.focus() },
    ...(filters ? [{ keys: "f", label: "Show or hide the filters", run: () => setOpen(!open) }] : []),
  ]);
  const narrowed = Object.keys(query.where).length;
  const panel = filters && <FacetPanel facets={filters.facets} fields={filters.fields} query={query} onQuery={onQuery} />;
  const empty = state.ready && state.total === 0;
  return (
    <div className={styles.columns} data-filters={(panel && open && !narrow) || undefined}>
      {panel && open && !narrow && <aside className={styles.panel} aria-label="Filters">{panel}</aside>}
      <div className={styles.list} aria-busy={pending}>
        <div className={styles.toolbar} role="toolbar" aria-label="What the list shows">
          {panel && (
            <Button icon="filter" look={open ? "plain" : "ghost"} aria-pressed={open} onPress={() => setOpen(!open)}>
              Filters
              {narrowed > 0 && <span className={styles.badge}>{narrowed}</span>}
            </Button>
          )}
          <div className={styles.search}><WordsField label={`Search ${name}`} placeholder={placeholder} field={search} words={query.search} onWords={(search) => onQuery({ ...query, search })} /></div>
          {tools}
        </div>
        <Chosen query={query} onQuery={onQuery} />
        <div className={styles.rows} data-pending={pending || undefined}>
          {state.trouble && !state.ready ? (
            <div className={styles.framed}><TroubleState trouble={state.trouble} retry={retry} /></div>
          ) : empty && isNarrowed(query) ? (
            <div className={styles.framed}><Empty icon="filter" title="Nothing matches" action={<Button onPress={() => onQuery(nothing)}>Clear the filters</Button>}><p>None of the {name} that you may see have all that you asked for.</p></Empty></div>
          ) : empty ? (
            <div className={styles.framed}><Empty icon={none.icon} title={none.title}>{none.text}</Empty></div>
          ) : (
            children
          )}
        </div>
        <p className={styles.foot}>
          <span className="numbers">{state.ready ? foot : " "}</span>
          {state.trouble && state.ready && <span className={styles.stale}><Icon name="warning" size={14} />{state.trouble.title}</span>}
        </p>
      </div>
      {panel && open && narrow && <Dialog title="Filters" look="sheet" size="s" onClose={() => setOpen(false)} footer={<Button look="primary" onPress={() => setOpen(false)}>Show {state.total.toLocaleString()}</Button>}>{panel}</Dialog>}
    </div>
  );
}

// Whether the filters are open is remembered, but on a phone, where they cover the list.
function useFilters(name: string): [boolean, (open: boolean) => void] {
  const key = `plumb.filters.${name}`;
  const [open, setOpen] = useState(() => window.innerWidth > 1100 && localStorage.getItem(key) !== "closed");
  return [
    open,
    (next) => {
      localStorage.setItem(key, next ? "open" : "closed");
      setOpen(next);
    },
  ];
}
