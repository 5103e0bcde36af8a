// A highlighter for the YAML that serialisers write: block style, one key a line.
import type { ReactNode } from "react";
import styles from "./Yaml.module.css";

const line = /^(\s*(?:- )*)(?:("[^"]*"|'[^']*'|[^\s#:"'][^:#]*?)(:)(?=\s|$))?(\s*)(.*)$/;
const masked = /(\*{3,}|•{3,}|<masked>|<redacted>|\[masked\])/;

// highlightYaml marks up one line.
export function highlightYaml(text: string): ReactNode {
  if (/^\s*#/.test(text)) return <span className={styles.comment}>{text}</span>;
  const [, lead = "", key, colon = "", gap = "", value = ""] = line.exec(text) ?? [];
  return (
    <>
      {lead}
      {key && <span className={styles.key}>{key}</span>}
      {colon}
      {gap}
      {value && <Value text={value} />}
    </>
  );
}

function Value({ text }: { text: string }) {
  const hidden = masked.exec(text);
  if (hidden)
    return (
      <>
        {text.slice(0, hidden.index)}
        <span className={styles.masked} title="Hidden: this may be secret">{hidden[0]}</span>
        {text.slice(hidden.index + hidden[0].length)}
      </>
    );
  if (/^(-?\d[\d._eE+-]*|true|false|null|~)$/.test(text)) return <span className={styles.number}>{text}</span>;
  if (/^[|>][+-]?\d*$/.test(text)) return <span className={styles.comment}>{text}</span>;
  return <span className={styles.string}>{text}</span>;
}
