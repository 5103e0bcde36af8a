// What stands above every tab: which delivery it is, how it is, what it runs, and
// what may be done.
import { useState } from "react";
import { Link } from "wouter";
import { pathOf } from "~/api/refs";
import type { Commit } from "~/gen/plumb/v1/common_pb";
import type { Delivery, GetDeliveryResponse } from "~/gen/plumb/v1/deliveries_pb";
import { useKeys } from "~/app/keys";
import { IconButton, PermittedButton } from "~/parts/button/Button";
import { Icon } from "~/parts/icon/Icon";
import { Menu } from "~/parts/menu/Menu";
import { ObjectName } from "~/parts/object/ObjectName";
import { Revision } from "~/parts/revision/Revision";
import { HealthBadge, SyncBadge } from "~/parts/state/State";
import { Bone } from "~/parts/states/States";
import { TimeAgo } from "~/parts/time/TimeAgo";
import { ActionWindow, type Asked } from "./ActionWindow";
import { offersOf, type ActionName } from "./actions";
import { PhaseBar } from "./PhaseBar";
import styles from "./Header.module.css";

export interface HeaderProps {
  name: string;
  delivery: Delivery | undefined;
  detail: GetDeliveryResponse | undefined;
  brief: boolean; // on a phone it leaves the room to what is below it
  onAsk: (asked: Asked) => void;
}

const dialects: Record<string, string> = { flux: "Flux", argo: "Argo CD" };

export function Header({ name, delivery, detail, brief, onAsk }: HeaderProps) {
  return (
    <header className={styles.header} data-brief={brief || undefined}>
      <div className={styles.top}>
        <div className={styles.title}>
          <h1>{name}</h1>
          {delivery ? (
            <>
              <HealthBadge health={delivery.health} pill />
              <SyncBadge sync={delivery.sync} pill />
            </>
          ) : (
            <Bone width={190} height={22} />
          )}
        </div>
        {delivery ? <Actions delivery={delivery} detail={detail} onAsk={onAsk} /> : <Bone width={240} height={32} />}
      </div>
      {delivery ? <Meta delivery={delivery} detail={detail} /> : <><div className={styles.meta}><Bone width="52%" /></div><div className={styles.commit}><Bone width="34%" /></div></>}
      {delivery ? <PhaseBar delivery={delivery} /> : <div className={styles.status}><Bone width="38%" /></div>}
    </header>
  );
}

function Actions({ delivery, detail, onAsk }: Required<Pick<HeaderProps, "onAsk">> & { delivery: Delivery; detail: GetDeliveryResponse | undefined }) {
  const offers = offersOf(delivery, detail);
  const ask = (name: ActionName) => onAsk({ name });
  useKeys("Delivery", offers.buttons.map(({ name, label, permission }) => ({ keys: name.charAt(0), label, run: () => permission?.allowed && ask(name) })));
  return (
    <div className={styles.actions} role="group" aria-label="Actions">
      {offers.buttons.map((offer, i) => (
        <PermittedButton key={offer.name} look={i === 0 ? "primary" : "plain"} icon={offer.icon} permission={offer.permission} onPress={() => ask(offer.name)}>
          {offer.label}
        </PermittedButton>
      ))}
      <Menu
        label="More actions"
        button={<IconButton icon="more" look="plain" label="More actions" />}
        items={offers.more.map(({ name, label, icon, danger, permission }) => ({ id: name, label: `${label}…`, icon, danger, disabled: permission && !permission.allowed ? permission.reason || "You may not do this." : undefined }))}
        onAction={(name) => ask(name as ActionName)}
      />
    </div>
  );
}

function Meta({ delivery, detail }: { delivery: Delivery; detail: GetDeliveryResponse | undefined }) {
  const { ref, source } = delivery;
  const sourcePage = pathOf(source?.ref);
  const where = source?.url || (source?.ref ? `${source.ref.namespace}/${source.ref.name}` : "");
  return (
    <>
      <ul className={styles.meta} aria-label="About this delivery">
        <li className={styles.kind}><b>{dialects[delivery.dialect] ?? delivery.dialect}</b> {ref?.kind}</li>
        <li title="Namespace of the declared object">{ref?.namespace}</li>
        {delivery.project && <li>project <Link className="link" href={`/projects?name=${encodeURIComponent(delivery.project)}`}>{delivery.project}</Link></li>}
        {ref?.kind !== "ApplicationSet" && <li title="Destination">to {delivery.cluster || "in-cluster"}{delivery.targetNamespace && ` / ${delivery.targetNamespace}`}</li>}
        {delivery.madeBy && <li>by <ObjectName of={delivery.madeBy} home={ref?.namespace} /></li>}
        {where && (
          <li className={styles.source}>
            <Icon name="sources" size={14} />
            {sourcePage ? <Link className="link cut" href={sourcePage}>{where}</Link> : <span className="cut" title={where}>{where}</span>}
            {(source?.path || source?.chart) && <span className="cut quiet" title={source.path || source.chart}>{source.path || source.chart}</span>}
            {source?.targetRevision && <code className="quiet">{source.targetRevision}</code>}
          </li>
        )}
      </ul>
      {delivery.revision && (
        <p className={styles.commit}>
          <Revision revision={delivery.revision} url={delivery.revisionUrl} copy icon />
          {delivery.commit && <CommitWords commit={delivery.commit} />}
          {detail?.quarantined === delivery.revision && <span className={styles.quarantined}>quarantined</span>}
        </p>
      )}
    </>
  );
}

// CommitWords says what a commit was about, who wrote it, and whether it is signed.
export function CommitWords({ commit }: { commit: Commit }) {
  return (
    <>
      {commit.subject && <span className="cut" title={commit.message ? `${commit.subject}\n\n${commit.message}` : commit.subject}>{commit.subject}</span>}
      {commit.author && <span className={`${styles.author} quiet`}>{commit.author.replace(/ <.*>$/, "")}</span>}
      {commit.signedBy && <span className={styles.signed} title={`Signed by ${commit.signedBy}`}><Icon name="check" size={12} />signed</span>}
      {commit.time && <span className="quiet"><TimeAgo time={commit.time} suffix=" ago" /></span>}
    </>
  );
}

// useAsking keeps the window of an action open from the question to the end of it.
export function useAsking(delivery: Delivery | undefined, detail: GetDeliveryResponse | undefined, onDone: () => void) {
  const [asked, setAsked] = useState<Asked>();
  const window = asked && delivery && <ActionWindow key={JSON.stringify([asked.name, asked.historyId, asked.objectAction])} asked={asked} delivery={delivery} detail={detail} onClose={() => setAsked(undefined)} onDone={onDone} />;
  return { ask: setAsked, window };
}

