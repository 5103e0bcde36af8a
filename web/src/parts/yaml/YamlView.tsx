import { useEffect, useMemo, useRef } from "react";
import { Link } from "wouter";
import { CopyButton } from "../copy/CopyButton";
import { highlightYaml } from "./highlight";
import styles from "./Yaml.module.css";

// Lines are laid out a block at a time, so that long texts cost what is seen of them.
const block = 100;

// YamlView shows YAML as the server sent it: what may be secret is masked there.
// A marked line is brought into sight; hrefOf makes links of the line numbers,
// which are no stops of the Tab key: there may be hundreds.
export function YamlView({ text, label = "YAML", mark, hrefOf }: { text: string; label?: string; mark?: number; hrefOf?: (line: number) => string }) {
  const marked = useRef<HTMLDivElement>(null);
  useEffect(() => void marked.current?.scrollIntoView({ block: "nearest" }), [mark]);
  const blocks = useMemo(() => {
    const lines = text.replace(/\n$/, "").split("\n");
    return Array.from({ length: Math.ceil(lines.length / block) }, (_, i) => lines.slice(i * block, (i + 1) * block));
  }, [text]);
  return (
    <div className={styles.view}>
      <div className={styles.tools}><CopyButton text={text} what="Copy YAML" /></div>
      <div className={styles.scroll} role="region" aria-label={label} tabIndex={0}>
        {blocks.map((lines, b) => (
          <div key={b} className={styles.block} style={{ containIntrinsicBlockSize: `auto ${lines.length * 19}px` }}>
            {lines.map((text, i) => {
              const place = b * block + i + 1;
              return (
                <div key={i} ref={mark === place ? marked : undefined} className={styles.line} data-mark={mark === place ? "" : undefined}>
                  {hrefOf ? <Link className={styles.place} href={hrefOf(place)} replace tabIndex={-1} aria-label={`Line ${place}`}>{place}</Link> : <span className={styles.place} aria-hidden="true">{place}</span>}
                  <code>{text ? highlightYaml(text) : " "}</code>
                </div>
              );
            })}
          </div>
        ))}
      </div>
    </div>
  );
}
