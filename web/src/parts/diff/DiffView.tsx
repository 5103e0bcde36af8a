import { useMemo } from "react";
import { highlightYaml } from "../yaml/highlight";
import { compareLines } from "./compare";
import { pairs, parseUnified, type DiffLine } from "./lines";
import styles from "./Diff.module.css";

const signs = { add: "+", del: "−", same: " ", skip: "⋯" } as const;
const words = { add: "added: ", del: "removed: ", same: "", skip: "" } as const;

export interface DiffViewProps {
  diff?: string; // unified
  before?: string; // or two texts to compare
  after?: string;
  split?: boolean;
  label?: string;
}

// DiffView shows how one text became another, unified or side by side.
export function DiffView({ diff, before, after, split, label = "Difference" }: DiffViewProps) {
  const lines = useMemo(() => (diff !== undefined ? parseUnified(diff) : fold(compareLines(before ?? "", after ?? ""))), [diff, before, after]);
  return (
    <div className={styles.diff} role="region" aria-label={label} tabIndex={0}>
      {split ? (
        <div className={styles.split}>
          {[0, 1].map((side) => (
            <div key={side} className={styles.side}>
              <div className={styles.lines}>
                {pairs(lines).map((pair, i) => <Line key={i} line={pair[side]} side={side === 0 ? "before" : "after"} />)}
              </div>
            </div>
          ))}
        </div>
      ) : (
        <div className={styles.lines}>{lines.map((line, i) => <Line key={i} line={line} />)}</div>
      )}
    </div>
  );
}

function Line({ line, side }: { line: DiffLine | undefined; side?: "before" | "after" }) {
  if (!line) return <div className={styles.line} data-kind="none"> </div>;
  return (
    <div className={styles.line} data-kind={line.kind}>
      {side !== "after" && <span className={styles.place} aria-hidden="true">{line.before}</span>}
      {side !== "before" && <span className={styles.place} aria-hidden="true">{line.after}</span>}
      <span className={styles.sign} aria-hidden="true">{signs[line.kind]}</span>
      <code>
        {words[line.kind] && <span className="unseen">{words[line.kind]}</span>}
        <Text line={line} />
      </code>
    </div>
  );
}

function Text({ line }: { line: DiffLine }) {
  if (!line.part || line.part[0] === line.part[1]) return highlightYaml(line.text);
  const [from, to] = line.part;
  return (
    <>
      {line.text.slice(0, from)}
      <mark>{line.text.slice(from, to)}</mark>
      {line.text.slice(to)}
    </>
  );
}

// fold leaves out what is the same far from any difference.
function fold(lines: DiffLine[], around = 4): DiffLine[] {
  const near = lines.map(() => false);
  lines.forEach((line, i) => {
    if (line.kind !== "same") near.fill(true, Math.max(0, i - around), i + around + 1);
  });
  return lines.flatMap((line, i) => (near[i] ? [line] : near[i - 1] || i === 0 ? [{ kind: "skip" as const, text: "" }] : []));
}
