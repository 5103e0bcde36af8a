import type { Project } from "~/gen/plumb/v1/fleet_pb";
import { ButtonLink } from "~/parts/button/Button";
import { Dialog } from "~/parts/dialog/Dialog";
import { FaultNote } from "~/parts/fault/FaultNote";
import { YamlView } from "~/parts/yaml/YamlView";
import styles from "./Projects.module.css";

// ProjectDetail is all that is known of a project, beside the list.
export function ProjectDetail({ project: p, onClose }: { project: Project; onClose: () => void }) {
  const name = p.ref!.name;
  return (
    <Dialog title={`Project ${name}`} look="sheet" size="m" onClose={onClose} footer={<ButtonLink icon="deliveries" href={`/deliveries?project=${encodeURIComponent(name)}`}>{p.deliveries === 1 ? "Its delivery" : `Its ${p.deliveries.toLocaleString()} deliveries`}</ButtonLink>}>
      <div className={styles.detail}>
        {p.description && <p>{p.description}</p>}
        {p.findings.map((f, i) => <FaultNote key={i} fault={f} />)}
        <Words title="May read" words={p.sources} none="No repository: nothing can be delivered." />
        <Words title="May deliver to (cluster/namespace)" words={p.destinations} none="Nowhere: nothing can be delivered." />
        <Words title="Roles" words={p.roles} none="It has no roles of its own." />
        <Words title="Sync windows" words={p.windows} none="Deliveries are made at any time." />
        <section className={styles.section}>
          <h3>Manifest</h3>
          <div className={styles.manifest}><YamlView text={p.manifest} label={`Manifest of project ${name}`} /></div>
        </section>
      </div>
    </Dialog>
  );
}

function Words({ title, words, none }: { title: string; words: readonly string[]; none: string }) {
  return (
    <section className={styles.section}>
      <h3>{title}</h3>
      {words.length === 0 ? <p className="quiet">{none}</p> : <ul>{words.map((word) => <li key={word}><code>{word}</code></li>)}</ul>}
    </section>
  );
}
