import { useRef } from "react";
import { useCall } from "~/api/useCall";
import { useCrumbs } from "~/app/crumbs";
import { useKeys } from "~/app/keys";
import type { Setting } from "~/gen/plumb/v1/fleet_pb";
import { FaultNote } from "~/parts/fault/FaultNote";
import { useListQuery } from "~/parts/list/useListQuery";
import { Page } from "~/parts/page/Page";
import { PageHeader, Panel } from "~/parts/panel/Panel";
import { Empty, Skeleton, TroubleState } from "~/parts/states/States";
import { WordsField } from "~/parts/words/WordsField";
import styles from "./Settings.module.css";

const fields: readonly string[] = [];

export default function Settings() {
  useCrumbs({ label: "Settings" });
  const [query, setQuery] = useListQuery(fields);
  const { data, trouble, refresh } = useCall("settings", (api, signal) => api.fleet.getSettings({}, { signal }));
  const search = useRef<HTMLInputElement>(null);
  useKeys("Settings", [{ keys: "/", label: "Search settings", run: () => search.current?.focus() }]);

  const words = query.search.toLowerCase().split(/\s+/).filter(Boolean);
  const matches = (title: string) => (s: Setting) => words.every((word) => [title, s.name, s.value, s.from, s.help].join(" ").toLowerCase().includes(word));
  const groups = data?.groups.map((g) => ({ title: g.title, settings: g.settings.filter(matches(g.title)), of: g.settings.length })).filter((g) => g.settings.length > 0 || (words.length === 0 && g.of === 0));
  return (
    <Page title="Settings">
      <PageHeader
        title="Settings"
        note="What is in force. It is changed where it comes from, and takes effect by itself."
        actions={data && <div className={styles.search}><WordsField label="Search settings" placeholder="Name, value, where from…" field={search} words={query.search} onWords={(search) => setQuery({ ...query, search })} /></div>}
      />
      {trouble && !data && <TroubleState trouble={trouble} retry={() => void refresh()} />}
      {!data && !trouble && Array.from({ length: 3 }, (_, i) => <Panel key={i}><Skeleton lines={5} /></Panel>)}
      {data && data.findings.length > 0 && <section className={styles.findings} aria-label="Findings">{data.findings.map((f, i) => <FaultNote key={i} fault={f} />)}</section>}
      {groups?.length === 0 && <Empty title="No setting matches"><p>Nothing in force has “{query.search}” in it.</p></Empty>}
      {groups?.map((g) => (
        <Panel key={g.title} title={g.title} note={g.of === 0 ? undefined : `${g.settings.length}`} flush={g.settings.length > 0}>
          {g.settings.length === 0 ? <p className="quiet">Nothing is set: everything is as it is by default.</p> : <dl className={styles.settings}>{g.settings.map((s) => <Line key={s.name} setting={s} />)}</dl>}
        </Panel>
      ))}
      {data && <p className="quiet">Plumb {data.version}</p>}
    </Page>
  );
}

function Line({ setting: s }: { setting: Setting }) {
  return (
    <div className={styles.setting}>
      <dt>{s.name}</dt>
      <dd className={styles.value}>
        {s.value.includes("\n") ? <pre tabIndex={0} aria-label={`Value of ${s.name}`}>{s.value}</pre> : <code>{s.value || "“”"}</code>}
        {s.help && <p className={styles.help}>{s.help}</p>}
      </dd>
      <dd className={styles.from}>{s.from}</dd>
    </div>
  );
}
