import { CopyButton } from "../copy/CopyButton";
import { Icon } from "../icon/Icon";
import styles from "./Revision.module.css";

// shortRevision cuts digests and commits to what people compare by eye:
// "main@sha1:0123abcd…" becomes "main@0123abcd", a version stays whole.
export function shortRevision(revision: string): string {
  return revision.replace(/(?:sha1:|sha256:)?\b([0-9a-f]{8})[0-9a-f]{24,}\b/g, "$1");
}

export function Revision({ revision, copy, icon }: { revision: string; copy?: boolean; icon?: boolean }) {
  if (!revision) return <span className="quiet">–</span>;
  return (
    <span className={styles.revision}>
      {icon && <Icon name="commit" size={14} />}
      <code className="cut" title={revision}>{shortRevision(revision)}</code>
      {copy && <CopyButton text={revision} what="Copy revision" />}
    </span>
  );
}
