// One object of the delivery beside whatever was shown: as it is, as it is wanted,
// how these differ, its events and its logs.
import { useEffect, useRef, type ReactNode } from "react";
import { Link } from "wouter";
import { keyOf, pathOf, titleOf } from "~/api/refs";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { ObjectRef } from "~/gen/plumb/v1/common_pb";
import type { GetObjectResponse, Node } from "~/gen/plumb/v1/deliveries_pb";
import { announce } from "~/parts/announce/announce";
import { ButtonLink, IconButton, PermittedButton } from "~/parts/button/Button";
import { CopyButton } from "~/parts/copy/CopyButton";
import { Dialog } from "~/parts/dialog/Dialog";
import { DiffView } from "~/parts/diff/DiffView";
import { KindTag } from "~/parts/object/ObjectName";
import { HealthBadge, SyncBadge } from "~/parts/state/State";
import { Empty, Skeleton, TroubleState } from "~/parts/states/States";
import { useNarrow } from "~/parts/table/useNarrow";
import { Tabs } from "~/parts/tabs/Tabs";
import { TimeAgo } from "~/parts/time/TimeAgo";
import { YamlView } from "~/parts/yaml/YamlView";
import { useAddress } from "../address";
import { textsOf } from "../diff/compared";
import { EventList } from "../events/EventList";
import { permissionOf } from "../header/actions";
import type { Asked } from "../header/ActionWindow";
import { LogView } from "../logs/LogView";
import { useLogOptions } from "../logs/LogsTab";
import { FilePlace } from "../overview/Explanation";
import { useFollowed, type Shown } from "../useDelivery";
import { panesOf, type Pane } from "./panes";
import styles from "./ObjectPanel.module.css";

export const panelId = "object-panel";

export interface ObjectPanelProps {
  shown: Shown;
  object: ObjectRef;
  node: Node | undefined; // as the graph has it
  onAsk: (asked: Asked) => void;
}

export function ObjectPanel({ shown, object, node, onAsk }: ObjectPanelProps) {
  const address = useAddress();
  const narrow = useNarrow();
  const panel = useRef<HTMLElement>(null);
  const key = keyOf(object);
  const close = () => address.set({ object: null, pane: null });

  useEffect(() => {
    announce(`Details of ${object.kind} ${object.name}`);
    const before = document.activeElement as HTMLElement | null;
    // Who walks through the graph goes on walking: Enter leads here.
    if (before?.closest("[data-graph]")) return;
    panel.current?.focus({ preventScroll: true });
    return () => void (panel.current?.contains(document.activeElement) && before?.focus({ preventScroll: true }));
  }, [key]);
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const inside = (event.target as HTMLElement).closest("dialog, [role=menu], [role=listbox], input");
      if (event.key !== "Escape" || event.defaultPrevented || inside) return;
      const card = document.querySelector<HTMLElement>(`[data-graph] [data-item="${CSS.escape(key)}"]`);
      card?.focus({ preventScroll: true });
      address.set({ object: null, pane: null });
    };
    if (!narrow) document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, [address, narrow, key]);

  const inside = <Inside shown={shown} object={object} node={node} onAsk={onAsk} />;
  if (narrow) return <Dialog title={object.name} look="sheet" size="l" onClose={close}><div className={styles.sheet}>{inside}</div></Dialog>;
  return (
    <aside ref={panel} id={panelId} tabIndex={-1} className={styles.panel} aria-label={`${object.kind} ${object.name}`}>
      <header className={styles.head}>
        <div>
          <KindTag of={object} />
          <h2>{object.name}</h2>
        </div>
        <IconButton icon="close" label="Close" keys="Esc" onPress={close} />
      </header>
      {inside}
    </aside>
  );
}

function Inside({ shown, object, node, onAsk }: ObjectPanelProps) {
  const { ref: delivery, detail } = shown;
  const address = useAddress();
  const own = keyOf(object) === keyOf(delivery);
  const version = `${shown.version} ${node?.health?.state} ${node?.sync} ${node?.info.join()}`;
  const asked = withVersion(object, node);
  const { data, trouble, refresh } = useFollowed(own ? null : `object ${keyOf(delivery)} ${keyOf(object)}`, version, (api, signal) => api.deliveries.getObject({ ref: delivery, object: asked }, { signal }));
  const panes = panesOf(data, node);
  const pane = panes.find((p) => p.id === address.get("pane"))?.id ?? panes[0]!.id;
  const page = pathOf(object);
  const resource = data?.resource ?? detail?.resources.find((r) => keyOf(r.object) === keyOf(object));
  const health = node?.health ?? resource?.health;
  const sync = node?.sync || resource?.sync;
  const application = delivery.kind === "Application";
  return (
    <>
      <div className={styles.about}>
        <p className={styles.states}>
          {health && <HealthBadge health={{ state: health.state || "Healthy", message: health.message }} pill />}
          {sync && <SyncBadge sync={sync} pill />}
          {object.namespace && <span className="quiet">in {object.namespace}</span>}
          {node?.created && <span className="quiet"><TimeAgo time={node.created} suffix=" old" /></span>}
          {node?.status && <span className={styles.fact}>{node.status}</span>}
          {node?.info.filter((fact) => fact !== node.status).map((fact) => <span key={fact} className={styles.fact}>{fact}</span>)}
        </p>
        {health?.message && health.state !== "Healthy" && <p className={styles.message}>{health.message}</p>}
        {resource?.drift && <p className={styles.message}>Drift: {resource.drift}</p>}
        {resource?.prune && <p className={styles.message}>The source has it no more: it is to be pruned.</p>}
        {resource?.file && <p><FilePlace url={detail?.delivery?.source?.url || detail?.sources[0]?.source?.url || ""} revision={detail?.delivery?.revision ?? ""} commit={detail?.delivery?.commit?.hash} file={resource.file} line={resource.line} /></p>}
        {!node?.delivered && node && !own && <p className="quiet">The cluster made it of what was delivered.</p>}
        {node && node.urls.length > 0 && <p className={styles.links}>{node.urls.map((url) => <a key={url} className="link cut" href={url} target="_blank" rel="noreferrer">{url.replace(/^https?:\/\//, "")}</a>)}</p>}
        {node && node.images.length > 0 && <ul className={styles.images} aria-label="Images">{node.images.map((image) => <li key={image}><code className="cut" title={image}>{image}</code><CopyButton text={image} what="Copy image" /></li>)}</ul>}
        <div className={styles.actions}>
          {page && !own && <ButtonLink size="s" href={page} icon="right">Open its page</ButtonLink>}
          {data?.actions.map((name) => <PermittedButton key={name} size="s" icon="refresh" permission={permissionOf("objectAction", detail)} onPress={() => onAsk({ name: "objectAction", object: asked, objectAction: name })}>{name.charAt(0).toUpperCase() + name.slice(1)}…</PermittedButton>)}
          {application && resource && <PermittedButton size="s" icon="sync" permission={permissionOf("sync", detail)} onPress={() => onAsk({ name: "sync", objects: [asked] })}>Sync only this…</PermittedButton>}
        </div>
      </div>
      {own ? (
        <div className={styles.body}><YamlView text={detail?.manifest ?? ""} label="Manifest" /></div>
      ) : (
        <>
          <Tabs label="Parts of the object" current={pane} tabs={panes.map((p) => ({ id: p.id, label: p.label, href: address.href({ pane: p.id }), note: p.count }))} />
          <div className={styles.body} data-fill={pane === "logs" || undefined}>
            {data ? <PaneBody pane={pane} data={data} shown={shown} object={asked} /> : trouble ? <TroubleState trouble={trouble} retry={() => void refresh()} /> : <Skeleton lines={12} label="Loading the object" />}
          </div>
        </>
      )}
    </>
  );
}

function PaneBody({ pane, data, shown, object }: { pane: Pane; data: GetObjectResponse; shown: Shown; object: ObjectRef }): ReactNode {
  const address = useAddress();
  const [logOptions, setLogOptions] = useLogOptions(address);
  switch (pane) {
    case "live":
      return data.live ? <YamlView text={data.live} label="As it is" /> : <Empty icon="search" title="It is not in the cluster"><p>It is wanted, and was not applied yet, or somebody deleted it.</p></Empty>;
    case "desired":
      return <YamlView text={data.desired} label="As it is wanted" />;
    case "diff":
      return <ObjectDiff shown={shown} object={object} />;
    case "events":
      return data.events.length > 0 ? <EventList events={[...data.events].sort((a, b) => (b.last ? timestampMs(b.last) : 0) - (a.last ? timestampMs(a.last) : 0))} /> : <Empty icon="bell" title="No events"><p>Clusters forget events, mostly after an hour.</p></Empty>;
    case "logs":
      return <LogView delivery={shown.ref} object={object} about={data} options={logOptions} onOptions={setLogOptions} />;
  }
}

function ObjectDiff({ shown, object }: { shown: Shown; object: ObjectRef }) {
  const { data, trouble, refresh } = useFollowed(`diff ${keyOf(shown.ref)} ${keyOf(object)}`, shown.version, (api, signal) => api.deliveries.getDiff({ ref: shown.ref, object }, { signal }));
  if (!data) return trouble ? <TroubleState trouble={trouble} retry={() => void refresh()} /> : <Skeleton lines={8} label="Comparing" />;
  const found = data.objects[0];
  const fault = data.failed[0];
  if (fault) return <Empty icon="warning" title="It could not be compared"><p>{fault.message}</p></Empty>;
  const [before, after] = found ? textsOf(found, "predicted") : ["", ""];
  if (!found || before === after) return <Empty icon="check" title="It is as it is wanted"><p>Applying {titleOf(object)} would change nothing.</p></Empty>;
  return (
    <div className={styles.diff}>
      {found.ignored && <p className="quiet">It differs only where a rule leaves it to others.</p>}
      <DiffView before={before} after={after} label="What applying it would change" />
      <p><Link className="link" href={address(shown, object)}>Compare side by side</Link></p>
    </div>
  );
}

function address(shown: Shown, object: ObjectRef): string {
  return `${pathOf(shown.ref)!.replace(/overview$/, "diff")}?only=${encodeURIComponent(keyOf(object))}&view=split`;
}

// What an address names has no version; the graph knows it.
function withVersion(object: ObjectRef, node: Node | undefined): ObjectRef {
  return node?.object ?? object;
}
