import type { GetDeliveryResponse, Related } from "~/gen/plumb/v1/deliveries_pb";
import { keyOf } from "~/api/refs";
import { Conditions } from "~/parts/conditions/Conditions";
import { CopyButton } from "~/parts/copy/CopyButton";
import { FaultNote } from "~/parts/fault/FaultNote";
import { Icon } from "~/parts/icon/Icon";
import { ObjectName } from "~/parts/object/ObjectName";
import { Breakable, Facts, Panel } from "~/parts/panel/Panel";
import { HealthMark, SyncMark } from "~/parts/state/State";
import { Skeleton } from "~/parts/states/States";
import { TimeAgo } from "~/parts/time/TimeAgo";
import { YamlView } from "~/parts/yaml/YamlView";
import { useFollowed, type Shown } from "../useDelivery";
import { Explanation } from "./Explanation";
import { Orphans, Windows } from "./Project";
import { LastOperation } from "./LastOperation";
import { Resources } from "./Resources";
import { Sources } from "./Sources";
import styles from "./Overview.module.css";

export function Overview({ shown }: { shown: Shown }) {
  const { ref, detail, delivery, version } = shown;
  const explained = useFollowed(`explain ${keyOf(ref)}`, version, (api, signal) => api.deliveries.explain({ ref }, { signal }));
  const unwell = !!delivery && (delivery.health?.state !== "Healthy" || delivery.sync === "OutOfSync" || !!delivery.hold);
  return (
    <div className={styles.overview}>
      <Explanation answer={explained} expected={unwell} />
      {detail ? <Rest detail={detail} state={explained.data?.state ?? ""} /> : <Bones />}
    </div>
  );
}

function Rest({ detail, state }: { detail: GetDeliveryResponse; state: string }) {
  // The explanation says what the fault says, and more.
  const faults = state === "wrong" || state === "waiting" || state === "held" ? [] : [detail.fault].filter((f) => f !== undefined);
  // The Applications of a set are its resources.
  const set = detail.delivery?.ref?.kind === "ApplicationSet";
  const notes = [...faults, ...detail.findings];
  return (
    <div className={styles.columns}>
      <div className={styles.main}>
        {notes.length > 0 && (
          <Panel title="Findings" note={String(notes.length)}>
            <div className={styles.stack}>{notes.map((fault, i) => <FaultNote key={i} fault={fault} />)}</div>
          </Panel>
        )}
        <Resources detail={detail} />
        {detail.operation && <LastOperation operation={detail.operation} home={detail.delivery?.targetNamespace ?? ""} />}
        {detail.conditions.length > 0 && <Panel title="Conditions" note={String(detail.conditions.length)} flush><Conditions conditions={detail.conditions} /></Panel>}
        {detail.parameters.length > 0 && <Parameters detail={detail} />}
      </div>
      <div className={styles.side}>
        {(!set || detail.sources.length > 0) && <Sources sources={detail.sources} />}
        {detail.dependsOn.length > 0 && <Relatives title="Depends on" relatives={detail.dependsOn} home={detail.delivery?.ref?.namespace} />}
        {detail.dependants.length > 0 && <Relatives title="Dependants" relatives={detail.dependants} home={detail.delivery?.ref?.namespace} />}
        {!set && detail.children.length > 0 && <Relatives title="Deliveries it declares" relatives={detail.children} home={detail.delivery?.ref?.namespace} />}
        {detail.windows && <Windows windows={detail.windows} />}
        <About detail={detail} />
        {detail.urls.length > 0 && (
          <Panel title="Addresses"><ul className={styles.list}>{detail.urls.map((url) => <li key={url}><Icon name="external" size={14} />{/^https?:/.test(url) ? <a className="link cut" href={url} target="_blank" rel="noreferrer">{url.replace(/^https?:\/\//, "")}</a> : <span className="cut">{url}</span>}</li>)}</ul></Panel>
        )}
        {detail.images.length > 0 && <Images images={detail.images} />}
        {detail.orphans.length > 0 && <Orphans orphans={detail.orphans} home={detail.delivery?.targetNamespace} />}
      </div>
    </div>
  );
}

// Relatives are other deliveries; the one that blocks this one stands out.
function Relatives({ title, relatives, home }: { title: string; relatives: readonly Related[]; home: string | undefined }) {
  const sorted = [...relatives].sort((a, b) => Number(b.blocks) - Number(a.blocks));
  return (
    <Panel title={title} note={String(relatives.length)} flush>
      <ul className={styles.relatives} tabIndex={relatives.length > 8 ? 0 : undefined} aria-label={title}>
        {sorted.map((r) => (
          <li key={keyOf(r.ref)} data-blocks={r.blocks || undefined}>
            {r.health ? <HealthMark state={r.health.state} /> : <span className={styles.unseenState} title="You may not see how it is" />}
            <ObjectName of={r.ref!} home={home} />
            {r.sync === "OutOfSync" && <SyncMark state={r.sync} />}
            {r.blocks && <b className={styles.blocks}>blocking</b>}
          </li>
        ))}
      </ul>
    </Panel>
  );
}

function About({ detail }: { detail: GetDeliveryResponse }) {
  const { delivery: d } = detail;
  const identity = detail.identity ? `${detail.namespaceOfIdentity ? `${detail.namespaceOfIdentity}/` : ""}${detail.identity}` : "Plumb’s own";
  const labels = Object.entries(d?.labels ?? {});
  return (
    <Panel title="About">
      <Facts
        facts={[
          ["Automation", { automatic: "Automatic", manual: "Manual sync", suspended: "Suspended" }[d?.automation ?? ""]],
          ["Acts as", <span key="identity">{identity}</span>],
          ["Last run", detail.lastRun && <TimeAgo key="run" time={detail.lastRun} suffix=" ago" />],
          ["Declared", d?.created && <TimeAgo key="created" time={d.created} suffix=" ago" />],
          ["Objects", d && (d.unhealthy > 0 || d.outOfSync > 0 ? `${d.objects}, ${[d.unhealthy > 0 && `${d.unhealthy} not healthy`, d.outOfSync > 0 && `${d.outOfSync} out of sync`].filter(Boolean).join(", ")}` : String(d.objects))],
          labels.length > 0 && ["Labels", <ul key="labels" className={styles.labels}>{labels.map(([name, value]) => <li key={name}><code><Breakable text={`${name}=${value}`} /></code></li>)}</ul>],
        ]}
      />
    </Panel>
  );
}

function Parameters({ detail }: { detail: GetDeliveryResponse }) {
  return (
    <Panel title="Parameters" note="What may be secret is masked" flush>
      <dl className={styles.parameters}>
        {detail.parameters.map((p) => (
          <div key={p.name} data-long={p.value.includes("\n") || undefined}>
            <dt><code>{p.name}</code></dt>
            <dd>{p.value.includes("\n") ? <YamlView text={p.value} label={p.name} /> : <code>{p.value}</code>}</dd>
          </div>
        ))}
      </dl>
    </Panel>
  );
}

function Images({ images }: { images: readonly string[] }) {
  return (
    <Panel title="Images" note={String(images.length)} flush>
      <ul className={styles.images} tabIndex={images.length > 8 ? 0 : undefined} aria-label="Images">{images.map((image) => <li key={image}><code className="cut" title={image}>{image}</code><CopyButton text={image} what="Copy image" /></li>)}</ul>
    </Panel>
  );
}

function Bones() {
  return (
    <div className={styles.columns}>
      <div className={styles.main}><Panel title="Resources"><Skeleton lines={8} label="Loading resources" /></Panel></div>
      <div className={styles.side}><Panel title="Sources"><Skeleton lines={4} label="Loading sources" /></Panel><Panel title="About"><Skeleton lines={5} label="Loading" /></Panel></div>
    </div>
  );
}

