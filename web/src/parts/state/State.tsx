import type { Health as HealthMessage } from "~/gen/plumb/v1/common_pb";
import { healthMark, syncMark, type Mark } from "./marks";
import styles from "./State.module.css";

function Shape({ mark, word, silent }: { mark: Mark; word: string; silent?: boolean }) {
  return (
    <svg
      className={styles.shape}
      data-tone={mark.tone}
      width="14"
      height="14"
      viewBox="0 0 16 16"
      {...(silent ? { "aria-hidden": true } : { role: "img", "aria-label": word })}
    >
      {mark.shape}
    </svg>
  );
}

// HealthMark is the shape alone, with its word for those who do not see it.
export function HealthMark({ state, silent }: { state: string | undefined; silent?: boolean }) {
  const mark = healthMark(state);
  return <Shape mark={mark} word={mark.word} silent={silent} />;
}

export function SyncMark({ state, silent }: { state: string | undefined; silent?: boolean }) {
  const mark = syncMark(state);
  return <Shape mark={mark} word={mark.word} silent={silent} />;
}

// HealthBadge is shape and word; its reason is told on hover.
export function HealthBadge({ health, pill }: { health: Pick<HealthMessage, "state" | "message"> | undefined; pill?: boolean }) {
  const mark = healthMark(health?.state);
  return (
    <span className={pill ? styles.pill : styles.badge} data-tone={mark.tone} title={health?.message || undefined}>
      <Shape mark={mark} word={mark.word} silent />
      {mark.word}
    </span>
  );
}

export function SyncBadge({ sync, pill }: { sync: string | undefined; pill?: boolean }) {
  const mark = syncMark(sync);
  return (
    <span className={pill ? styles.pill : styles.badge} data-tone={mark.tone}>
      <Shape mark={mark} word={mark.word} silent />
      {mark.word === "OutOfSync" ? "Out of sync" : mark.word}
    </span>
  );
}
