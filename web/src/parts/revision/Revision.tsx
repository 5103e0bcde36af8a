import { CopyButton } from "../copy/CopyButton";
import { Icon } from "../icon/Icon";
import styles from "./Revision.module.css";

// shortRevision cuts digests and commits to what people compare by eye:
// "main@sha1:0123abcd…" becomes "main@0123abcd", a version stays whole.
export function shortRevision(revision: string): string {
  return revision.replace(/(?:sha1:|sha256:)?\b([0-9a-f]{8})[0-9a-f]{24,}\b/g, "$1");
}

// url is the page of the commit, at the host of its repository.
export function Revision({ revision, url, copy, icon }: { revision: string; url?: string; copy?: boolean; icon?: boolean }) {
  if (!revision) return <span className="quiet">–</span>;
  return (
    <span className={styles.revision}>
      {icon && <Icon name="commit" size={14} />}
      {url ? <a className="link cut" href={url} target="_blank" rel="noreferrer" title={revision}><code>{shortRevision(revision)}</code></a> : <code className="cut" title={revision}>{shortRevision(revision)}</code>}
      {copy && <CopyButton text={revision} what="Copy revision" />}
    </span>
  );
}
