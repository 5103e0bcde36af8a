// What a page shows instead of what was asked for.
import { useEffect, type ReactNode } from "react";
import type { Trouble } from "~/api/trouble";
import { announce } from "../announce/announce";
import { Button } from "../button/Button";
import { Icon, type IconName } from "../icon/Icon";
import { sentence } from "../words/sentence";
import styles from "./States.module.css";

// Empty says that there is nothing, why, and what to do about it.
export function Empty({ icon = "search", title, children, action }: { icon?: IconName; title: string; children?: ReactNode; action?: ReactNode }) {
  return (
    <div className={styles.state}>
      <span className={styles.icon}><Icon name={icon} size={22} /></span>
      <h2>{title}</h2>
      {children && <div className={styles.text}>{children}</div>}
      {action}
    </div>
  );
}

const icons: Partial<Record<Trouble["kind"], IconName>> = { forbidden: "lock", missing: "search", offline: "link", busy: "clock" };

// TroubleState stands for a page or panel that could not be loaded.
export function TroubleState({ trouble, retry }: { trouble: Trouble; retry?: () => void }) {
  useEffect(() => announce(`${trouble.title}. ${trouble.detail}`), [trouble]);
  return (
    <Empty
      icon={icons[trouble.kind] ?? "warning"}
      title={trouble.title}
      action={retry && trouble.kind !== "forbidden" && trouble.kind !== "missing" && <Button icon="refresh" onPress={retry}>Try again</Button>}
    >
      {trouble.detail && <p className={styles.detail}>{sentence(trouble.detail)}</p>}
      {trouble.kind === "forbidden" && <p>Whoever runs Plumb here can grant it.</p>}
      {trouble.kind === "offline" && <p>The connection is tried again as soon as there is one.</p>}
    </Empty>
  );
}

// Bone is a piece of a skeleton: it has the size of what will come.
export function Bone({ width = "100%", height = 12 }: { width?: number | string; height?: number }) {
  return <span className={styles.bone} style={{ width, height }} />;
}

// Skeleton is as many lines of text as will come. Nothing is shown of it for
// the first moment, so that quick answers do not flicker.
export function Skeleton({ lines = 3, label = "Loading" }: { lines?: number; label?: string }) {
  return (
    <div className={styles.skeleton} role="status" aria-label={label}>
      {Array.from({ length: lines }, (_, i) => <Bone key={i} width={`${[92, 74, 83, 61][i % 4]}%`} />)}
    </div>
  );
}
