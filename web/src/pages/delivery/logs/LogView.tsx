// Logs as one reads them: following, searched, thousands of lines of which only
// those in sight are rendered.
import { useVirtualizer } from "@tanstack/react-virtual";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "react";
import type { ObjectRef } from "~/gen/plumb/v1/common_pb";
import { Button, IconButton } from "~/parts/button/Button";
import { Checkbox, SearchField, Switch } from "~/parts/field/Field";
import { Icon } from "~/parts/icon/Icon";
import { ChoiceMenu } from "~/parts/menu/Menu";
import { Empty, Skeleton, TroubleState } from "~/parts/states/States";
import { asText, bound, matching, shortPods, type Line } from "./lines";
import { useLogs } from "./useLogs";
import styles from "./Logs.module.css";

const rowHeight = 19;
const tails = ["200", "500", "2000", "10000"];

export interface LogOptions {
  container: string;
  previous: boolean;
  follow: boolean;
  wrap: boolean;
  times: boolean;
  search: string;
  tail: number;
}

export const usual: LogOptions = { container: "", previous: false, follow: true, wrap: false, times: true, search: "", tail: 500 };

export function LogView({ delivery, object, containers, options, onOptions }: { delivery: ObjectRef; object: ObjectRef; containers: readonly string[]; options: LogOptions; onOptions: (change: Partial<LogOptions>) => void }) {
  const container = options.container || (containers[0] ?? "");
  const { lines, state, trouble, again } = useLogs({ ref: delivery, object, container, previous: options.previous, follow: options.follow && !options.previous, tail: options.tail });
  const shown = useMemo(() => matching(lines, options.search), [lines, options.search]);
  const pods = useMemo(() => shortPods([...new Set(lines.map((line) => line.pod))].sort()), [lines]);
  const download = () => {
    const url = URL.createObjectURL(new Blob([asText(lines, pods.size > 1)], { type: "text/plain" }));
    Object.assign(document.createElement("a"), { href: url, download: `${object.name}${container && `-${container}`}.log` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1_000);
  };
  return (
    <div className={styles.logs}>
      <div className={styles.bar}>
        <SearchField label="Find in the log" value={options.search} onChange={(search) => onOptions({ search })} />
        {containers.length > 1 && <ChoiceMenu title="Container" chosen={[container]} onChoose={([id]) => onOptions({ container: id })} button={<Button size="s" icon="down">{container}</Button>} items={containers.map((id) => ({ id, label: id }))} />}
        <ChoiceMenu title="Begin with the last" chosen={[String(options.tail)]} onChoose={([id]) => onOptions({ tail: Number(id) })} button={<Button size="s" icon="down">{options.tail.toLocaleString("en")} lines</Button>} items={tails.map((id) => ({ id, label: `${Number(id).toLocaleString("en")} lines` }))} />
        <Switch on={options.follow && !options.previous} onChange={(follow) => onOptions({ follow, ...(follow && { previous: false }) })}>Follow</Switch>
        <Checkbox checked={options.previous} onChange={(previous) => onOptions({ previous })}>Previous instance</Checkbox>
        <Checkbox checked={options.wrap} onChange={(wrap) => onOptions({ wrap })}>Wrap</Checkbox>
        <Checkbox checked={options.times} onChange={(times) => onOptions({ times })}>Times</Checkbox>
        <span className={styles.end}>
          <span className={styles.count} role="status">{options.search ? `${shown.length.toLocaleString("en")} of ${lines.length.toLocaleString("en")}` : `${lines.length.toLocaleString("en")} lines`}{lines.length >= bound && ", older ones are left out"}</span>
          <IconButton size="s" icon="arrowDown" label="Download" onPress={download} disabled={lines.length === 0} />
          <IconButton size="s" icon="refresh" label="Read again" onPress={again} />
        </span>
      </div>
      {lines.length === 0 && trouble ? (
        <div className={styles.blank}><TroubleState trouble={trouble} retry={again} /></div>
      ) : lines.length === 0 && state === "opening" ? (
        <div className={styles.blank}><Skeleton lines={10} label="Opening the log" /></div>
      ) : lines.length === 0 && state === "ended" ? (
        <div className={styles.blank}><Empty icon="logs" title={options.previous ? "There was no instance before" : "Nothing was written yet"} /></div>
      ) : shown.length === 0 ? (
        <div className={styles.blank}>{options.search ? <Empty title="No line has this in it" action={<Button onPress={() => onOptions({ search: "" })}>Show all lines</Button>} /> : <Empty icon="logs" title="Nothing was written yet"><p>New lines appear here by themselves.</p></Empty>}</div>
      ) : (
        <Lines key={`${object.name} ${container} ${options.wrap}`} lines={shown} pods={pods} options={options} ended={state === "ended" && options.follow && !options.previous ? trouble?.title || "The log ended" : ""} again={again} />
      )}
    </div>
  );
}

function Lines({ lines, pods, options, ended, again }: { lines: readonly Line[]; pods: Map<string, string>; options: LogOptions; ended: string; again: () => void }) {
  const scroller = useRef<HTMLDivElement>(null);
  const [atEnd, setAtEnd] = useState(true);
  const left = useRef<number>(0); // the last line that was there when somebody scrolled away
  const virtualizer = useVirtualizer({
    count: lines.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => rowHeight,
    overscan: 30,
    getItemKey: (i) => lines[i]!.id,
  });
  const newest = lines.at(-1)?.id ?? 0;
  useLayoutEffect(() => {
    if (atEnd && scroller.current) scroller.current.scrollTop = scroller.current.scrollHeight;
  }, [newest, atEnd, lines.length]);
  // Lines that are measured after they were scrolled to are longer than thought.
  const total = virtualizer.getTotalSize();
  useEffect(() => {
    if (atEnd && scroller.current) scroller.current.scrollTop = scroller.current.scrollHeight;
  }, [total]);

  const onScroll = () => {
    const { scrollTop, scrollHeight, clientHeight } = scroller.current!;
    const end = scrollHeight - scrollTop - clientHeight < 2 * rowHeight;
    if (!end && atEnd) left.current = newest;
    setAtEnd(end);
  };
  return (
    <div className={styles.stage}>
      <div ref={scroller} className={styles.scroller} role="log" aria-label="Log" aria-live="off" tabIndex={0} onScroll={onScroll} data-wrap={options.wrap || undefined}>
        <div className={styles.lines} style={{ height: total }}>
          {virtualizer.getVirtualItems().map((item) => {
            const line = lines[item.index]!;
            return (
              <div key={line.id} ref={options.wrap ? virtualizer.measureElement : undefined} data-index={item.index} className={styles.line} data-level={line.level || undefined} style={{ transform: `translateY(${item.start}px)` }}>
                {options.times && <span className={styles.time}>{line.time ? clock(line.time) : ""}</span>}
                {pods.size > 1 && <span className={styles.pod} title={line.pod}>{pods.get(line.pod)}</span>}
                <span className={styles.text}>{line.level && <span className="unseen">{line.level}: </span>}<Marked text={line.text} search={options.search} /></span>
              </div>
            );
          })}
        </div>
      </div>
      {!atEnd && <span className={styles.jump}><Button size="s" look="primary" icon="arrowDown" onPress={() => setAtEnd(true)}>{newest > left.current && options.follow ? `${(newest - left.current).toLocaleString("en")} new` : "To the end"}</Button></span>}
      {ended && <p className={styles.ended}><Icon name="info" size={14} />{ended}<Button size="s" onPress={again}>Read again</Button></p>}
    </div>
  );
}

function Marked({ text, search }: { text: string; search: string }) {
  const at = search ? text.toLowerCase().indexOf(search.toLowerCase()) : -1;
  if (at < 0) return text || " ";
  return (
    <>
      {text.slice(0, at)}
      <mark>{text.slice(at, at + search.length)}</mark>
      <Marked text={text.slice(at + search.length)} search={search} />
    </>
  );
}

function clock(time: Date): string {
  return `${[time.getHours(), time.getMinutes(), time.getSeconds()].map((n) => String(n).padStart(2, "0")).join(":")}.${String(time.getMilliseconds()).padStart(3, "0")}`;
}
