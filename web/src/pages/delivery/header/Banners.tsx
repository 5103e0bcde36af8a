// What a person decided, or has to decide, stands above all tabs.
import { useState, type ReactNode } from "react";
import type { Delivery, GetDeliveryResponse } from "~/gen/plumb/v1/deliveries_pb";
import { keyOf } from "~/api/refs";
import { Button, PermittedButton } from "~/parts/button/Button";
import { Icon, type IconName } from "~/parts/icon/Icon";
import { ObjectName } from "~/parts/object/ObjectName";
import { shortRevision } from "~/parts/revision/Revision";
import { permissionOf } from "./actions";
import type { Asked } from "./ActionWindow";
import styles from "./Banners.module.css";

export function Banners({ delivery, detail, gone, onAsk }: { delivery: Delivery; detail: GetDeliveryResponse | undefined; gone: boolean; onAsk: (asked: Asked) => void }) {
  const hold = detail?.delivery?.hold && delivery.hold ? detail.delivery.hold : delivery.hold;
  const manual = delivery.dialect === "argo" && delivery.automation === "manual";
  return (
    <>
      {gone && <Banner tone="idle" icon="trash" title="It is no longer declared"><p>What is shown is how it was last seen.</p></Banner>}
      {hold && <HoldBanner hold={hold} detail={detail} onAsk={onAsk} home={delivery.targetNamespace} />}
      {detail?.quarantined && (
        <Banner tone="warn" icon="hand" title={`Revision ${shortRevision(detail.quarantined)} is in quarantine`} action={<PermittedButton size="s" permission={permissionOf("lift", detail)} onPress={() => onAsk({ name: "lift" })}>Lift it…</PermittedButton>}>
          <p>Somebody rolled back from it, so it is not delivered by itself. A newer commit is.</p>
        </Banner>
      )}
      {delivery.suspended && !manual && (
        <Banner tone="idle" icon="pause" title="Suspended" action={<PermittedButton size="s" permission={permissionOf("resume", detail)} onPress={() => onAsk({ name: "resume" })}>Resume…</PermittedButton>}>
          <p>Nothing is delivered, and nothing is corrected, until somebody resumes it. {delivery.reason === "Suspended" && delivery.message}</p>
        </Banner>
      )}
      {delivery.deleting && !gone && <Banner tone="warn" icon="trash" title="It is being deleted"><p>{delivery.message || "What it delivered goes with it."}</p></Banner>}
    </>
  );
}

const few = 6;

function HoldBanner({ hold, detail, onAsk, home }: { hold: NonNullable<Delivery["hold"]>; detail: GetDeliveryResponse | undefined; onAsk: (asked: Asked) => void; home: string }) {
  const [all, setAll] = useState(false);
  const shown = all ? hold.deletes : hold.deletes.slice(0, few);
  return (
    <Banner tone="bad" icon="hand" title={`${hold.deletes.length} of ${hold.total} objects wait to be deleted`} action={<PermittedButton size="s" look="danger" permission={permissionOf("approve", detail)} onPress={() => onAsk({ name: "approve" })}>Review and approve…</PermittedButton>}>
      <p>{hold.why}. Nothing else is held up by this; the objects stay until somebody agrees.</p>
      <ul className={styles.deletes} aria-label="Objects that would be deleted">
        {shown.map((ref) => <li key={keyOf(ref)}><ObjectName of={ref} home={home} plain /></li>)}
        {hold.deletes.length > few && <li><Button size="s" look="ghost" onPress={() => setAll(!all)}>{all ? "Fewer" : `${hold.deletes.length - few} more`}</Button></li>}
      </ul>
    </Banner>
  );
}

function Banner({ tone, icon, title, children, action }: { tone: "bad" | "warn" | "idle"; icon: IconName; title: string; children: ReactNode; action?: ReactNode }) {
  return (
    <section className={styles.banner} data-tone={tone} aria-label={title}>
      <Icon name={icon} />
      <div className={styles.words}>
        <h2>{title}</h2>
        {children}
      </div>
      {action && <div className={styles.action}>{action}</div>}
    </section>
  );
}
