import { useMemo, useRef } from "react";
import { useSearchParams } from "wouter";
import { useListed, type Listing } from "~/api/useListed";
import { useCrumbs } from "~/app/crumbs";
import { useKeys } from "~/app/keys";
import type { Project } from "~/gen/plumb/v1/fleet_pb";
import { Icon } from "~/parts/icon/Icon";
import { List } from "~/parts/list/List";
import { useListQuery } from "~/parts/list/useListQuery";
import { Page } from "~/parts/page/Page";
import { VirtualTable, type Column, type TableHandle } from "~/parts/table/VirtualTable";
import { ProjectDetail } from "./ProjectDetail";
import styles from "./Projects.module.css";

const fields: readonly string[] = [];
const skeletonRows = 8;

const columns: readonly Column<Project>[] = [
  { id: "name", title: "Name", width: "minmax(150px, 1fr)", cell: (p) => <span className={styles.name}><span className="cut">{p.ref!.name}</span>{p.findings.length > 0 && <span title={p.findings[0]!.message}><Icon name="warning" size={14} /><span className="unseen">{p.findings.length} findings</span></span>}</span> },
  { id: "description", title: "Description", width: "minmax(160px, 1.3fr)", spare: 1, cell: (p) => <span className="quiet">{p.description || "–"}</span> },
  { id: "sources", title: "May read", width: "minmax(160px, 1.3fr)", cell: (p) => <Several of={p.sources} every="any repository" /> },
  { id: "destinations", title: "May deliver to", width: "minmax(160px, 1.3fr)", cell: (p) => <Several of={p.destinations} every="anywhere" /> },
  { id: "roles", title: "Roles", width: "minmax(138px, 0.7fr)", spare: 2, cell: (p) => <Several of={p.roles} /> },
  { id: "windows", title: "Windows", width: "84px", spare: 3, end: true, cell: (p) => p.windows.length || <span className="quiet">–</span> },
  { id: "deliveries", title: "Deliveries", width: "92px", end: true, cell: (p) => p.deliveries.toLocaleString() },
];

const listing: Listing<Project> = {
  name: (p) => p.ref!.name,
  list: async (api, signal) => {
    const { projects, revision } = await api.fleet.listProjects({}, { signal });
    return { items: projects, revision };
  },
  watch: async function* (api, since, options) {
    for await (const message of api.fleet.watchProjects({ since }, options)) yield { ...message, removed: message.removed.map((ref) => ref.name) };
  },
};

export default function Projects() {
  useCrumbs({ label: "Projects" });
  const [query, setQuery] = useListQuery(fields);
  const [params, setParams] = useSearchParams();
  const answer = useListed("projects", listing);
  const all = answer.data;
  const rows = useMemo(() => {
    const words = query.search.toLowerCase().split(/\s+/).filter(Boolean);
    return (all ?? []).filter((p) => {
      const text = [p.ref!.name, p.description, ...p.sources, ...p.destinations, ...p.roles].join(" ").toLowerCase();
      return words.every((word) => text.includes(word));
    });
  }, [all, query.search]);
  const chosen = params.get("name");
  const project = all?.find((p) => p.ref!.name === chosen);
  const close = () => setParams((before) => without(before, "name"), { replace: true });
  const table = useRef<TableHandle>(null);
  useKeys("List", [
    { keys: "j", label: "Next row", run: () => table.current?.focus(1) },
    { keys: "k", label: "Row before", run: () => table.current?.focus(-1) },
  ]);
  const href = (p: Project) => {
    const next = new URLSearchParams(params);
    next.set("name", p.ref!.name);
    return `/projects?${next}`;
  };
  return (
    <Page title={project ? `${project.ref!.name} · Projects` : "Projects"} fill>
      <h1 className="unseen">Projects</h1>
      <List
        name="projects"
        placeholder="Name, repository, destination, role…"
        query={query}
        onQuery={setQuery}
        state={{ ready: !!all, trouble: answer.trouble, total: rows.length }}
        retry={() => void answer.refresh()}
        foot={`${rows.length} ${rows.length === 1 ? "project" : "projects"}`}
        none={{ icon: "projects", title: "There are no projects to see", text: <p>A project is an AppProject of Argo CD: it says which repositories Applications may read and where they may deliver.</p> }}
      >
        <VirtualTable
          ref={table}
          label="Projects"
          columns={columns}
          count={all ? rows.length : skeletonRows}
          slotAt={(index) => {
            const row = rows[index];
            return row ? { kind: "row", key: row.ref!.name, row } : { kind: "wait", key: `wait${index}` };
          }}
          href={href}
          rowHeight={40}
          compact={(p) => <Compact project={p} />}
        />
      </List>
      {project && <ProjectDetail project={project} onClose={close} />}
    </Page>
  );
}

function without(params: URLSearchParams, name: string): URLSearchParams {
  const result = new URLSearchParams(params);
  result.delete(name);
  return result;
}

// Several is the first of some words, and how many more there are.
function Several({ of: words, every }: { of: readonly string[]; every?: string }) {
  if (words.length === 0) return <span className="quiet">–</span>;
  if (every && words.some((w) => w === "*" || w === "*/*")) return <span>{every}</span>;
  return <span className={styles.several} title={words.join("\n")}>{words[0]}{words.length > 1 && ` and ${words.length - 1} more`}</span>;
}

function Compact({ project: p }: { project: Project }) {
  return (
    <span className={styles.compact}>
      <span><strong className="cut">{p.ref!.name}</strong>{p.findings.length > 0 && <Icon name="warning" size={14} />}{p.deliveries.toLocaleString()}</span>
      <span><Several of={p.sources} every="any repository" /></span>
      <span><Several of={p.destinations} every="anywhere" /></span>
    </span>
  );
}
