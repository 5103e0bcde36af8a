import type { Event } from "~/gen/plumb/v1/deliveries_pb";
import { keyOf } from "~/api/refs";
import { Icon } from "~/parts/icon/Icon";
import { ObjectName } from "~/parts/object/ObjectName";
import { TimeAgo } from "~/parts/time/TimeAgo";
import styles from "./Events.module.css";

// EventList tells of events, newest first; hrefOf links what they are about.
export function EventList({ events, hrefOf, home }: { events: readonly Event[]; hrefOf?: (event: Event) => string | undefined; home?: string }) {
  return (
    <ol className={styles.events}>
      {events.map((event, i) => (
        <li key={`${keyOf(event.about)} ${event.reason} ${i}`} data-warning={event.type === "Warning" || undefined}>
          <Icon name={event.type === "Warning" ? "warning" : "info"} size={14} />
          <div>
            <p className={styles.head}>
              <b>{event.reason}</b>
              {event.type === "Warning" && <span className="unseen">Warning</span>}
              {hrefOf?.(event) && event.about && <ObjectName of={event.about} href={hrefOf(event)} home={home} />}
              {event.count > 1 && <span className={styles.count}>×{event.count}</span>}
            </p>
            <p className={styles.message}>{event.message}</p>
          </div>
          <span className={styles.when}><TimeAgo time={event.last} /><span>{event.from}</span></span>
        </li>
      ))}
    </ol>
  );
}
