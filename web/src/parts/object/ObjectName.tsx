import type { ReactNode } from "react";
import { Link } from "wouter";
import { pathOf, type RefLike } from "~/api/refs";
import styles from "./ObjectName.module.css";

// KindTag is the kind in small print; group on hover.
export function KindTag({ of }: { of: Pick<RefLike, "group" | "kind"> }) {
  return <span className={styles.kind} title={of.group ? `${of.kind}.${of.group}` : of.kind}>{of.kind}</span>;
}

// ObjectName names an object, and leads to its page where it has one. plain
// leaves out the link, home the namespace where it is this one.
export function ObjectName({ of, plain, home, tag = true, href }: { of: RefLike; plain?: boolean; home?: string; tag?: boolean; href?: string }) {
  const path = plain ? undefined : (href ?? pathOf(of));
  const name: ReactNode = (
    <>
      {of.namespace && of.namespace !== home && <span className={styles.namespace}>{of.namespace}/</span>}
      {of.name}
    </>
  );
  return (
    <span className={styles.object}>
      {tag && <KindTag of={of} />}
      {path ? <Link className={`${styles.name} ${styles.linked}`} href={path} title={`${of.namespace}/${of.name}`}>{name}</Link> : <span className={styles.name}>{name}</span>}
    </span>
  );
}
