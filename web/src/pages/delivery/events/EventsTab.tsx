// What the cluster says about the delivery and all of its objects.
import { keyOf, titleOf } from "~/api/refs";
import { Choice, SearchField } from "~/parts/field/Field";
import { Empty, Skeleton, TroubleState } from "~/parts/states/States";
import { useAddress } from "../address";
import { useFollowed, type Shown } from "../useDelivery";
import { EventList } from "./EventList";
import styles from "./Events.module.css";

export function EventsTab({ shown }: { shown: Shown }) {
  const address = useAddress();
  const { ref } = shown;
  const { data, trouble, refresh } = useFollowed(`events ${keyOf(ref)}`, shown.version, (api, signal) => api.deliveries.getObject({ ref }, { signal }));
  if (!data) return trouble ? <TroubleState trouble={trouble} retry={() => void refresh()} /> : <Skeleton lines={8} label="Loading events" />;
  const type = address.get("type") === "Warning" ? "Warning" : "all";
  const words = address.get("q").toLowerCase();
  const warnings = data.events.filter((e) => e.type === "Warning").length;
  const shownEvents = data.events.filter((e) => (type === "all" || e.type === type) && `${e.reason} ${e.message} ${e.about ? `${e.about.kind} ${titleOf(e.about)}` : ""} ${e.from}`.toLowerCase().includes(words));
  if (data.events.length === 0) return <Empty icon="bell" title="No events"><p>Nothing was told of this delivery or its objects lately. Clusters forget events, mostly after an hour.</p></Empty>;
  return (
    <div className={styles.tab}>
      <div className={styles.bar}>
        <SearchField label="Find in events" value={address.get("q")} onChange={(q) => address.set({ q })} />
        <Choice label="Which" value={type} onChange={(id) => address.set({ type: id === "all" ? null : id })} options={[{ id: "all", label: `All ${data.events.length}` }, { id: "Warning", label: `Warnings ${warnings}` }]} />
      </div>
      <div className={styles.list}>
        {shownEvents.length > 0 ? <EventList events={shownEvents} home={shown.delivery?.targetNamespace} hrefOf={(e) => (e.about && keyOf(e.about) !== keyOf(ref) ? address.href({ object: keyOf(e.about) }) : undefined)} /> : <Empty title="No event is like this" />}
      </div>
    </div>
  );
}
