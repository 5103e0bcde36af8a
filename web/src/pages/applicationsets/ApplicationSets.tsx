import { useMemo, useRef } from "react";
import { Link, useSearchParams } from "wouter";
import { deliveryPath, keyOf } from "~/api/refs";
import { useCrumbs } from "~/app/crumbs";
import { useKeys } from "~/app/keys";
import type { Delivery } from "~/gen/plumb/v1/deliveries_pb";
import { List } from "~/parts/list/List";
import { useListQuery } from "~/parts/list/useListQuery";
import { Page } from "~/parts/page/Page";
import { HealthBadge, HealthMark, SyncBadge, SyncMark } from "~/parts/state/State";
import { VirtualTable, type Column, type Slot, type TableHandle } from "~/parts/table/VirtualTable";
import { TimeAgo } from "~/parts/time/TimeAgo";
import { Why } from "../deliveries/columns";
import { nameOf, useChildren, useSets } from "./useSets";
import styles from "./ApplicationSets.module.css";

const fields = ["health", "namespace"] as const;
const skeletonRows = 10;

const columns: readonly Column<Delivery>[] = [
  { id: "name", title: "Application", width: "minmax(220px, 1.6fr)", cell: (d) => <Link className={styles.child} href={deliveryPath(d.ref!)} tabIndex={-1}><span className="cut">{d.ref!.name}</span></Link> },
  { id: "health", title: "Health", width: "122px", cell: (d) => <HealthBadge health={d.health} /> },
  { id: "sync", title: "Sync", width: "118px", cell: (d) => <SyncBadge sync={d.sync} /> },
  { id: "why", title: "Status", width: "minmax(150px, 1.7fr)", cell: (d) => <Why delivery={d} /> },
  { id: "cluster", title: "Destination", width: "minmax(190px, 1.1fr)", spare: 1, cell: (d) => <span className="quiet">{[d.cluster, d.targetNamespace].filter(Boolean).join(" / ")}</span> },
  { id: "changed", title: "Changed", width: "84px", spare: 2, end: true, cell: (d) => <TimeAgo time={d.changed} /> },
];

interface Line {
  set: Delivery;
  child: number; // -1: the set itself
}

export default function ApplicationSets() {
  useCrumbs({ label: "ApplicationSets" });
  const [query, setQuery] = useListQuery(fields);
  const [params, setParams] = useSearchParams();
  const open = params.getAll("open");
  const { answer, sets, children, version } = useSets(query);
  const known = useChildren(open, version);
  const table = useRef<TableHandle>(null);
  useKeys("List", [
    { keys: "j", label: "Next row", run: () => table.current?.focus(1) },
    { keys: "k", label: "Row before", run: () => table.current?.focus(-1) },
  ]);

  const toggle = (name: string) =>
    setParams(
      (before) => {
        const next = new URLSearchParams(before);
        const others = open.filter((o) => o !== name);
        next.delete("open");
        for (const o of others.length === open.length ? [...others, name] : others) next.append("open", o);
        return next;
      },
      { replace: true },
    );

  const sizeOf = (set: Delivery) => known.get(nameOf(set))?.length ?? children.get(nameOf(set)) ?? 0;
  const lines = (sets ?? []).flatMap((set): Line[] => [{ set, child: -1 }, ...(open.includes(nameOf(set)) ? Array.from({ length: sizeOf(set) }, (_, child) => ({ set, child })) : [])]);
  const slotAt = (index: number): Slot<Delivery> => {
    const line = lines[index];
    if (!line) return { kind: "wait", key: `wait${index}` };
    const name = nameOf(line.set);
    if (line.child < 0) return { kind: "group", key: name, title: <SetTitle set={line.set} count={sizeOf(line.set)} />, open: open.includes(name), onToggle: () => toggle(name) };
    const row = known.get(name)?.[line.child];
    return row ? { kind: "row", key: keyOf(row.ref), row } : { kind: "wait", key: `${name}${line.child}` };
  };

  const facets = answer.data?.facets;
  const filters = useMemo(() => ({ facets: facets ?? [], fields }), [facets]);
  const total = answer.data?.totalSize ?? 0;
  return (
    <Page title="ApplicationSets" fill>
      <h1 className="unseen">ApplicationSets</h1>
      <List
        name="application sets"
        placeholder="Name, project, message…"
        query={query}
        onQuery={setQuery}
        filters={filters}
        state={{ ready: !!sets, trouble: answer.trouble, total }}
        retry={() => void answer.refresh()}
        foot={`${total.toLocaleString()} ${total === 1 ? "ApplicationSet" : "ApplicationSets"}`}
        none={{ icon: "sets", title: "There are no ApplicationSets", text: <p>An ApplicationSet of Argo CD makes Applications of a template: one for each cluster, directory, or whatever its generators list.</p> }}
      >
        <VirtualTable
          ref={table}
          label="ApplicationSets and their Applications"
          columns={columns}
          count={sets ? lines.length : skeletonRows}
          slotAt={slotAt}
          href={(d) => deliveryPath(d.ref!)}
          rowHeight={38}
          compactHeight={60}
          compact={(d) => <Compact child={d} />}
          remember="applicationsets"
        />
      </List>
    </Page>
  );
}

// SetTitle is the line of a set: how it is, how many it made, and where to read more.
function SetTitle({ set, count }: { set: Delivery; count: number }) {
  return (
    <span className={styles.set}>
      <HealthMark state={set.health?.state} />
      <Link className={`${styles.title} cut`} href={deliveryPath(set.ref!)} onClick={(event) => event.stopPropagation()}>{set.ref!.name}</Link>
      <span className={styles.namespace}>{set.ref!.namespace}</span>
      <span className={styles.count}>{count.toLocaleString()} {count === 1 ? "application" : "applications"}</span>
      {set.health?.state !== "Healthy" && <span className={`${styles.message} cut`} title={set.message}>{set.message}</span>}
    </span>
  );
}

function Compact({ child: d }: { child: Delivery }) {
  return (
    <span className={styles.compact}>
      <span><HealthMark state={d.health?.state} /><strong className="cut">{d.ref!.name}</strong><SyncMark state={d.sync} /></span>
      <Why delivery={d} />
    </span>
  );
}
