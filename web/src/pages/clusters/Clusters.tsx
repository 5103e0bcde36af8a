import { useMemo } from "react";
import { Link } from "wouter";
import { useListed, type Listing } from "~/api/useListed";
import { useCrumbs } from "~/app/crumbs";
import type { Cluster } from "~/gen/plumb/v1/fleet_pb";
import { List } from "~/parts/list/List";
import { useListQuery } from "~/parts/list/useListQuery";
import { Page } from "~/parts/page/Page";
import { HealthBadge, HealthMark } from "~/parts/state/State";
import { TimeAgo } from "~/parts/time/TimeAgo";
import { VirtualTable, type Column } from "~/parts/table/VirtualTable";
import { ordered } from "./order";
import styles from "./Clusters.module.css";

const fields: readonly string[] = [];
const skeletonRows = 6;

const listing: Listing<Cluster> = {
  name: (c) => c.name,
  list: async (api, signal) => {
    const { clusters, revision } = await api.fleet.listClusters({}, { signal });
    return { items: clusters, revision };
  },
  watch: (api, since, options) => api.fleet.watchClusters({ since }, options),
};

export default function Clusters() {
  useCrumbs({ label: "Clusters" });
  const [query, setQuery] = useListQuery(fields);
  const answer = useListed("clusters", listing);
  const all = answer.data;
  const rows = useMemo(() => ordered(all ?? [], query), [all, query]);
  const largest = Math.max(1, ...(all ?? []).map((c) => c.deliveries));
  const columns = useMemo(() => columnsFor(largest), [largest]);
  return (
    <Page title="Clusters" fill>
      <h1 className="unseen">Clusters</h1>
      <List
        name="clusters"
        placeholder="Name, address, label…"
        query={query}
        onQuery={setQuery}
        state={{ ready: !!all, trouble: answer.trouble, total: rows.length }}
        retry={() => void answer.refresh()}
        foot={`${rows.length} ${rows.length === 1 ? "cluster" : "clusters"}`}
        none={{ icon: "clusters", title: "There are no clusters to see", text: <p>Clusters appear when deliveries that you may see go to them.</p> }}
      >
        <VirtualTable
          label="Clusters"
          columns={columns}
          count={all ? rows.length : skeletonRows}
          slotAt={(index) => {
            const row = rows[index];
            return row ? { kind: "row", key: row.name, row } : { kind: "wait", key: `wait${index}` };
          }}
          href={deliveriesOf}
          order={query.order}
          onOrder={(order) => setQuery({ ...query, order })}
          rowHeight={44}
          compact={(c) => <Compact cluster={c} />}
          version={largest}
        />
      </List>
    </Page>
  );
}

function deliveriesOf(c: Cluster): string {
  return `/deliveries?cluster=${encodeURIComponent(c.name)}`;
}

function columnsFor(largest: number): readonly Column<Cluster>[] {
  return [
    { id: "name", title: "Name", width: "minmax(150px, 1.2fr)", order: "name", cell: (c) => <Link className={styles.name} href={deliveriesOf(c)} tabIndex={-1}><span className="cut">{c.name}</span></Link> },
    { id: "health", title: "Connection", width: "124px", order: "health", cell: (c) => <HealthBadge health={c.health} /> },
    { id: "server", title: "Address", width: "minmax(160px, 1.6fr)", cell: (c) => <Address cluster={c} /> },
    { id: "version", title: "Kubernetes", width: "104px", spare: 1, order: "version", cell: (c) => c.version || <span className="quiet">–</span> },
    { id: "project", title: "Project", width: "100px", spare: 3, cell: (c) => c.project || <span className="quiet">–</span> },
    { id: "labels", title: "Labels", width: "minmax(124px, 0.8fr)", spare: 2, cell: (c) => <code className="quiet" title={annotationsOf(c)}>{labelsOf(c) || "–"}</code> },
    { id: "objects", title: "Objects", width: "88px", spare: 4, order: "objects", end: true, cell: (c) => c.objects.toLocaleString() },
    { id: "deliveries", title: "Deliveries", width: "minmax(232px, 1.4fr)", order: "deliveries", cell: (c) => <Share cluster={c} largest={largest} /> },
  ];
}

// Address is where the API server is; of one that does not answer, since when.
function Address({ cluster: c }: { cluster: Cluster }) {
  if (!c.health?.message) return <code className="quiet" title={c.server}>{c.server || "–"}</code>;
  return <span className={styles.wrong} title={c.health.message}>{c.since && !c.reachable && <><TimeAgo time={c.since} />: </>}{c.health.message}</span>;
}

function labelsOf(c: Cluster): string {
  return Object.entries(c.labels).map(([k, v]) => `${k}=${v}`).join(" ");
}

function annotationsOf(c: Cluster): string | undefined {
  const all = Object.entries(c.annotations).map(([k, v]) => `${k}: ${v}`);
  return all.length > 0 ? `Annotations\n${all.join("\n")}` : undefined;
}

// Share is how many deliveries go there, beside the cluster that has most, and
// how many of them are not well.
function Share({ cluster: c, largest }: { cluster: Cluster; largest: number }) {
  return (
    <span className={styles.share}>
      <span className={styles.track} aria-hidden="true">
        <i className={styles.ill} style={{ width: `${(100 * c.unhealthy) / largest}%` }} />
        <i className={styles.well} style={{ width: `${(100 * (c.deliveries - c.unhealthy)) / largest}%` }} />
      </span>
      <span className={styles.words}>
        {c.deliveries.toLocaleString()}
        {c.unhealthy > 0 && <> · <Link href={`${deliveriesOf(c)}&health=Degraded&health=Missing`}>{c.unhealthy.toLocaleString()} unhealthy</Link></>}
      </span>
    </span>
  );
}

function Compact({ cluster: c }: { cluster: Cluster }) {
  return (
    <span className={styles.compact}>
      <span><HealthMark state={c.health?.state} /><strong className="cut">{c.name}</strong><span className="quiet">{c.version}</span></span>
      <span className="quiet"><span className="cut">{c.health?.message || c.server}</span></span>
      <span className="quiet">{c.deliveries.toLocaleString()} deliveries{c.unhealthy > 0 && `, ${c.unhealthy.toLocaleString()} unhealthy`}</span>
    </span>
  );
}
