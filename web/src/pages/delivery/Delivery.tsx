// The page of one delivery: what it is stands above, and tabs tell the rest.
import { useEffect } from "react";
import { Link, useLocation, useParams } from "wouter";
import { deliveryFromPath, deliveryPath, keyOf, type DeliveryTab } from "~/api/refs";
import { useCrumbs } from "~/app/crumbs";
import { useKeys } from "~/app/keys";
import type { ObjectRef } from "~/gen/plumb/v1/common_pb";
import { ButtonLink } from "~/parts/button/Button";
import { Page } from "~/parts/page/Page";
import { Empty, TroubleState } from "~/parts/states/States";
import { useNarrow } from "~/parts/table/useNarrow";
import { Tabs } from "~/parts/tabs/Tabs";
import { refOfKey, useAddress } from "./address";
import { DiffTab } from "./diff/DiffTab";
import { EventsTab } from "./events/EventsTab";
import { GraphTab } from "./graph/GraphTab";
import { useGraph } from "./graph/useGraph";
import { permissionOf } from "./header/actions";
import { Banners } from "./header/Banners";
import { Header, useAsking } from "./header/Header";
import { HistoryTab } from "./history/HistoryTab";
import { LogsTab } from "./logs/LogsTab";
import { ManifestTab } from "./manifest/ManifestTab";
import { ObjectPanel } from "./object/ObjectPanel";
import { Overview } from "./overview/Overview";
import { useCovered } from "./useCovered";
import { useDelivery } from "./useDelivery";
import styles from "./Delivery.module.css";

const tabs: readonly { id: DeliveryTab; label: string }[] = [
  { id: "overview", label: "Overview" },
  { id: "graph", label: "Graph" },
  { id: "diff", label: "Diff" },
  { id: "history", label: "History" },
  { id: "events", label: "Events" },
  { id: "logs", label: "Logs" },
  { id: "manifest", label: "Manifest" },
];

export default function Delivery() {
  const { kind = "", namespace = "", name = "", tab } = useParams();
  const ref = deliveryFromPath(kind, namespace, name);
  useCrumbs({ label: "Deliveries", href: "/deliveries" }, { label: ref?.namespace ?? namespace, href: `/deliveries?namespace=${encodeURIComponent(ref?.namespace ?? namespace)}` }, { label: ref?.name ?? name });
  const shown = tabs.find((t) => t.id === (tab ?? "overview"));
  if (!ref || !shown) return <Page title="Delivery"><Empty title="There is no such page"><p>Deliveries are Kustomizations, HelmReleases, Applications and ApplicationSets.</p></Empty></Page>;
  return <DeliveryPage key={keyOf(ref)} of={ref} tab={shown.id} />;
}

function DeliveryPage({ of: ref, tab }: { of: ObjectRef; tab: DeliveryTab }) {
  const address = useAddress();
  const [, navigate] = useLocation();
  const shown = useDelivery(ref);
  const { delivery, detail, trouble, gone } = shown;
  const object = refOfKey(address.get("object"));
  const graph = useGraph(ref);
  const covered = useCovered(!!object);
  const narrow = useNarrow();
  const { ask, window } = useAsking(delivery, detail, () => void shown.refresh());

  useKeys("Delivery", tabs.map(({ id, label }, i) => ({ keys: String(i + 1), label: `Show ${label.toLowerCase()}`, run: () => navigate(deliveryPath(ref, id)) })));
  // A tab begins at its top, below the header if that was scrolled away.
  useEffect(() => {
    const content = document.getElementById("content");
    if (content && content.scrollTop > 0) content.scrollTop = 0;
  }, [tab]);

  if (!delivery && trouble) return <Page title={ref.name}><h1 className="unseen">{ref.name}</h1><Missing trouble={trouble} of={ref} retry={() => void shown.refresh()} /></Page>;
  const tall = tab === "graph" || tab === "logs";
  const fill = tall && !narrow;
  return (
    <Page title={`${ref.name} · ${tabs.find((t) => t.id === tab)!.label}`} fill={fill} wide>
      <div className={styles.page} data-fill={fill || undefined}>
        <Header name={ref.name} delivery={delivery} detail={detail} brief={tab !== "overview"} onAsk={ask} />
        {delivery && <Banners delivery={delivery} detail={detail} gone={gone} onAsk={ask} />}
        <div className={styles.tabs}>
          <Tabs label="Parts of the delivery" current={tab} tabs={tabs.map(({ id, label }) => ({ id, label, href: deliveryPath(ref, id), note: id === "diff" && delivery && delivery.outOfSync > 0 ? delivery.outOfSync : undefined }))} />
        </div>
        <div className={tall ? styles.fill : styles.body}>
          {tab === "overview" && <Overview shown={shown} />}
          {tab === "graph" && <GraphTab graph={graph} covered={covered} />}
          {tab === "diff" && <DiffTab shown={shown} />}
          {tab === "history" && <HistoryTab shown={shown} onAsk={ask} />}
          {tab === "events" && <EventsTab shown={shown} />}
          {tab === "logs" && <LogsTab delivery={ref} graph={graph} permission={permissionOf("logs", detail)} />}
          {tab === "manifest" && <ManifestTab shown={shown} />}
        </div>
      </div>
      {object && <ObjectPanel shown={shown} object={object} node={graph.nodes.get(keyOf(object)) ?? [...graph.nodes.values()].find((n) => keyOf(n.object) === keyOf(object))} onAsk={ask} />}
      {window}
    </Page>
  );
}

function Missing({ trouble, of: ref, retry }: { trouble: NonNullable<ReturnType<typeof useDelivery>["trouble"]>; of: ObjectRef; retry: () => void }) {
  if (trouble.kind !== "missing") return <TroubleState trouble={trouble} retry={retry} />;
  return (
    <Empty icon="search" title={`There is no ${ref.kind} ${ref.namespace}/${ref.name}`} action={<ButtonLink href={`/deliveries?q=${encodeURIComponent(ref.name)}`}>Look for it by its name</ButtonLink>}>
      <p>It was deleted, or never declared here. Its history may still be in the <Link className="link" href={`/activity?q=${encodeURIComponent(ref.name)}`}>activity</Link>.</p>
    </Empty>
  );
}
