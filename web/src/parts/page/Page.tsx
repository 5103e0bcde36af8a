import { useEffect, type ReactNode } from "react";
import styles from "./Page.module.css";

// Page is the frame of every page. fill gives it the height of the window, for
// pages that scroll inside; wide leaves out the bound of its width.
export function Page({ title, fill, wide, children }: { title: string; fill?: boolean; wide?: boolean; children: ReactNode }) {
  useEffect(() => {
    document.title = `${title} · Plumb`;
  }, [title]);
  return (
    <div className={styles.page} data-fill={fill || undefined} data-wide={wide || fill || undefined}>
      {children}
    </div>
  );
}
