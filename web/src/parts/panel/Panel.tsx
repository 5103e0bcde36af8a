import { Fragment, type ReactNode } from "react";
import styles from "./Panel.module.css";

// Panel is a titled region of a page; flush leaves out the padding, for lists.
export function Panel({ title, note, actions, children, flush }: { title?: ReactNode; note?: ReactNode; actions?: ReactNode; children: ReactNode; flush?: boolean }) {
  return (
    <section className={styles.panel}>
      {(title || actions) && (
        <header className={styles.header}>
          <h2>{title}</h2>
          {note && <span className={styles.note}>{note}</span>}
          {actions && <div className={styles.actions}>{actions}</div>}
        </header>
      )}
      <div className={flush ? undefined : styles.body}>{children}</div>
    </section>
  );
}

// PageHeader is the one h1 of a page.
export function PageHeader({ title, note, actions, children }: { title: ReactNode; note?: ReactNode; actions?: ReactNode; children?: ReactNode }) {
  return (
    <header className={styles.page}>
      <div className={styles.titles}>
        <h1>{title}</h1>
        {note && <div className={styles.note}>{note}</div>}
        {children}
      </div>
      {actions && <div className={styles.actions}>{actions}</div>}
    </header>
  );
}

// Breakable is a long word, such as an address or a label, that breaks where one
// reads a pause.
export function Breakable({ text }: { text: string }) {
  return text.split(/(?<=[/=@:])(?=[^/])/).map((part, i) => <Fragment key={i}>{i > 0 && <wbr />}{part}</Fragment>);
}

// Facts is a list of names and values; those without a value are left out.
export function Facts({ facts }: { facts: readonly (readonly [string, ReactNode] | false | null | undefined)[] }) {
  return (
    <dl className={styles.facts}>
      {facts.map((fact) => fact && fact[1] !== undefined && fact[1] !== "" && fact[1] !== null && (
        <div key={fact[0]}>
          <dt>{fact[0]}</dt>
          <dd>{typeof fact[1] === "string" ? <Breakable text={fact[1]} /> : fact[1]}</dd>
        </div>
      ))}
    </dl>
  );
}
