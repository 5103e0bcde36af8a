import { useState } from "react";
import { useParams } from "wouter";
import { useApi } from "~/api/api";
import { keyOf, sourceFromPath, sourcePath } from "~/api/refs";
import { troubleOf } from "~/api/trouble";
import { useCall } from "~/api/useCall";
import { useStream } from "~/api/useStream";
import { useCrumbs } from "~/app/crumbs";
import { useKeys } from "~/app/keys";
import type { GetSourceResponse } from "~/gen/plumb/v1/fleet_pb";
import { PermittedButton } from "~/parts/button/Button";
import type { IconName } from "~/parts/icon/Icon";
import { KindTag } from "~/parts/object/ObjectName";
import { Page } from "~/parts/page/Page";
import { PageHeader, Panel } from "~/parts/panel/Panel";
import { HealthBadge } from "~/parts/state/State";
import { Bone, Skeleton, TroubleState } from "~/parts/states/States";
import { Tabs } from "~/parts/tabs/Tabs";
import { TimeAgo } from "~/parts/time/TimeAgo";
import { toast } from "~/parts/toast/toast";
import { YamlView } from "~/parts/yaml/YamlView";
import { Overview } from "./Overview";
import { Readers } from "./Readers";
import styles from "./Source.module.css";

export default function Source() {
  const { group = "", kind = "", namespace = "", name = "", tab = "overview" } = useParams<Record<"group" | "kind" | "namespace" | "name" | "tab", string>>();
  const ref = sourceFromPath(group, kind, namespace, name);
  const key = `source:${keyOf(ref)}`;
  const answer = useCall(key, (api, signal) => api.fleet.getSource({ ref }, { signal }));
  const { refresh } = answer;
  const [live, setLive] = useState<{ key: string; data: GetSourceResponse }>();
  const stream = useStream(answer.data ? key : null, (api, options) => api.fleet.watchSource({ ref }, options), (data) => setLive({ key, data }));
  const data = answer.data && live?.key === key ? live.data : answer.data;
  const gone = stream.trouble?.kind === "missing" ? stream.trouble : undefined;
  const trouble = gone ?? answer.trouble;
  useCrumbs({ label: "Sources", href: "/sources" }, { label: ref.name });

  const path = sourcePath(ref);
  const tabs = [
    { id: "overview", label: "Overview", href: path },
    { id: "readers", label: "Read by", href: `${path}/readers`, note: data?.source?.readers.toLocaleString() },
    { id: "manifest", label: "Manifest", href: `${path}/manifest` },
  ];
  if (trouble && (gone || !data)) return <Page title={ref.name}><h1 className="unseen">{ref.name}</h1><TroubleState trouble={trouble} retry={() => void refresh()} /></Page>;
  return (
    <Page title={ref.name}>
      <PageHeader title={ref.name} actions={<Actions data={data} />}>
        <div className={styles.state}>
          {data ? <HealthBadge health={data.source!.health} pill /> : <Bone width={84} height={22} />}
          <span><KindTag of={ref} /> {ref.namespace}</span>
          {data?.source?.fetched && <span>fetched <TimeAgo time={data.source.fetched} suffix=" ago" /></span>}
        </div>
      </PageHeader>
      <Tabs label="About this source" tabs={tabs} current={tab} />
      {!data ? <Panel><Skeleton lines={8} /></Panel> : tab === "readers" ? <Readers readers={data.readers} source={data.source!} /> : tab === "manifest" ? <YamlView text={data.manifest} label={`Manifest of ${ref.name}`} /> : <Overview answer={data} />}
    </Page>
  );
}

const verbs: readonly { action: string; label: string; icon: IconName; keys: string }[] = [
  { action: "refresh", label: "Fetch now", icon: "refresh", keys: "r" },
  { action: "suspend", label: "Suspend", icon: "pause", keys: "s" },
  { action: "resume", label: "Resume", icon: "play", keys: "s" },
];

// Actions: of suspending and resuming, only what makes sense is offered.
function Actions({ data }: { data: GetSourceResponse | undefined }) {
  const api = useApi();
  const [busy, setBusy] = useState("");
  const offered = verbs.filter(({ action }) => action === "refresh" || action === (data?.source?.suspended ? "resume" : "suspend"));
  const act = async (action: string) => {
    setBusy(action);
    try {
      const { message } = await api.fleet.actOnSource({ ref: data!.source!.ref, action });
      toast({ tone: "good", title: message });
    } catch (error) {
      const trouble = troubleOf(error);
      if (trouble) toast({ tone: "bad", title: trouble.title, detail: trouble.detail });
    } finally {
      setBusy("");
    }
  };
  useKeys("Source", offered.map(({ action, label, keys }) => ({ keys, label, run: () => data?.actions[action]?.allowed && !busy && void act(action) })));
  return offered.map(({ action, label, icon }) => (
    <PermittedButton key={action} icon={icon} permission={data?.actions[action]} busy={busy === action} onPress={() => void act(action)}>{label}</PermittedButton>
  ));
}
