// Logs as one reads them: following, searched, thousands of lines of which only
// those in sight are rendered.
import { useVirtualizer } from "@tanstack/react-virtual";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "react";
import type { Trouble } from "~/api/trouble";
import type { Fault, ObjectRef } from "~/gen/plumb/v1/common_pb";
import type { GetObjectResponse } from "~/gen/plumb/v1/deliveries_pb";
import { Button, IconButton } from "~/parts/button/Button";
import { Checkbox, SearchField, Switch } from "~/parts/field/Field";
import { Icon } from "~/parts/icon/Icon";
import { ChoiceMenu } from "~/parts/menu/Menu";
import { Empty, Skeleton, TroubleState } from "~/parts/states/States";
import { sentence } from "~/parts/words/sentence";
import { every, readableOf } from "./choices";
import { asText, bound, matching, shortPods, type Line } from "./lines";
import { useLogs } from "./useLogs";
import styles from "./Logs.module.css";

const rowHeight = 19;
const tails = ["200", "500", "2000", "10000"];
const ages = [["0", "Of any age"], ["300", "Last 5 minutes"], ["3600", "Last hour"], ["86400", "Last day"]] as const;

export interface LogOptions {
  pod: string; // "": all of them
  container: string; // "": that which kubectl takes; "*": all of them
  since: number; // seconds; 0: any
  previous: boolean;
  follow: boolean;
  wrap: boolean;
  times: boolean;
  search: string;
  tail: number;
}

export const usual: LogOptions = { pod: "", container: "", since: 0, previous: false, follow: true, wrap: false, times: true, search: "", tail: 500 };

export function LogView({ delivery, object, about, options, onOptions }: { delivery: ObjectRef; object: ObjectRef; about: GetObjectResponse | undefined; options: LogOptions; onOptions: (change: Partial<LogOptions>) => void }) {
  const { pods: known, containers, usual, previous } = readableOf(about, options.pod, options.container);
  const all = options.container === every;
  const container = options.container || usual;
  // Without a name the server reads the usual one, which is not known here at first.
  const request = { ref: delivery, object, container: all ? "" : options.container, allContainers: all, pods: options.pod ? [options.pod] : [], previous: options.previous, follow: options.follow && !options.previous, tailLines: options.tail, sinceSeconds: options.since };
  const { lines, state, trouble, troubles, omitted, again } = useLogs(request);
  const shown = useMemo(() => matching(lines, options.search), [lines, options.search]);
  const pods = useMemo(() => shortPods([...new Set(lines.map((line) => line.pod))].sort()), [lines]);
  const where = { pods: pods.size > 1, containers: all };
  const download = () => {
    const url = URL.createObjectURL(new Blob([asText(shown, where)], { type: "text/plain" }));
    Object.assign(document.createElement("a"), { href: url, download: `${object.name}${container && `-${container}`}.log` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1_000);
  };
  return (
    <div className={styles.logs}>
      <div className={styles.bar}>
        <SearchField label="Find in the log" value={options.search} onChange={(search) => onOptions({ search })} />
        {known.length > 1 && <ChoiceMenu title="Pods" chosen={[options.pod || every]} onChoose={([id]) => onOptions({ pod: id === every ? "" : id })} button={<Button size="s" icon="down">{options.pod || `All ${known.length} Pods`}</Button>} items={[{ id: every, label: `All ${known.length} Pods` }, ...known.map(({ name, status }) => ({ id: name, label: name, note: status }))]} />}
        {containers.length > 1 && <ChoiceMenu title="Container" chosen={[all ? every : container]} onChoose={([id]) => onOptions({ container: id === usual ? "" : id })} button={<Button size="s" icon="down">{all ? "All containers" : container}</Button>} items={[...containers.map(({ name, note }) => ({ id: name, label: name, note })), { id: every, label: "All containers" }]} />}
        <ChoiceMenu title="Begin with the last" chosen={[String(options.tail)]} onChoose={([id]) => onOptions({ tail: Number(id) })} button={<Button size="s" icon="down">{options.tail.toLocaleString("en")} lines</Button>} items={tails.map((id) => ({ id, label: `${Number(id).toLocaleString("en")} lines` }))} />
        <ChoiceMenu title="How old" chosen={[String(options.since)]} onChoose={([id]) => onOptions({ since: Number(id) })} button={<Button size="s" icon="down">{ages.find(([id]) => id === String(options.since))?.[1] ?? `Last ${options.since} s`}</Button>} items={ages.map(([id, label]) => ({ id, label }))} />
        <Switch on={options.follow && !options.previous} onChange={(follow) => onOptions({ follow, ...(follow && { previous: false }) })}>Follow</Switch>
        {(previous || options.previous) && <Checkbox checked={options.previous} onChange={(previous) => onOptions({ previous })}>Previous instance</Checkbox>}
        <Checkbox checked={options.wrap} onChange={(wrap) => onOptions({ wrap })}>Wrap</Checkbox>
        <Checkbox checked={options.times} onChange={(times) => onOptions({ times })}>Times</Checkbox>
        <span className={styles.end}>
          <span className={styles.count} role="status">{options.search ? `${shown.length.toLocaleString("en")} of ${lines.length.toLocaleString("en")}` : `${lines.length.toLocaleString("en")} lines`}{lines.length >= bound && ", older ones are left out"}</span>
          <IconButton size="s" icon="arrowDown" label="Download" onPress={download} disabled={lines.length === 0} />
          <IconButton size="s" icon="refresh" label="Read again" onPress={again} />
        </span>
      </div>
      <NotRead troubles={lines.length > 0 ? troubles : []} omitted={omitted} />
      {lines.length === 0 && (trouble || troubles.length > 0) ? (
        <div className={styles.blank}><TroubleState trouble={told(trouble, troubles)} retry={again} /></div>
      ) : lines.length === 0 && state === "opening" ? (
        <div className={styles.blank}><Skeleton lines={10} label="Opening the log" /></div>
      ) : lines.length === 0 && state === "ended" ? (
        <div className={styles.blank}><Empty icon="logs" title={options.previous ? "There was no instance before" : "Nothing was written yet"} /></div>
      ) : shown.length === 0 ? (
        <div className={styles.blank}>{options.search ? <Empty title="No line has this in it" action={<Button onPress={() => onOptions({ search: "" })}>Show all lines</Button>} /> : <Empty icon="logs" title="Nothing was written yet"><p>New lines appear here by themselves.</p></Empty>}</div>
      ) : (
        <Lines key={`${object.name} ${container} ${options.wrap}`} lines={shown} labelOf={(line) => [where.pods && pods.get(line.pod), where.containers && line.container].filter(Boolean).join(" ")} options={options} ended={state === "ended" && options.follow && !options.previous ? trouble?.title || "The log ended" : ""} again={again} />
      )}
    </div>
  );
}

function Lines({ lines, labelOf, options, ended, again }: { lines: readonly Line[]; labelOf: (line: Line) => string; options: LogOptions; ended: string; again: () => void }) {
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
            const label = labelOf(line);
            return (
              <div key={line.id} ref={options.wrap ? virtualizer.measureElement : undefined} data-index={item.index} className={styles.line} data-level={line.level || undefined} style={{ transform: `translateY(${item.start}px)` }}>
                {options.times && <span className={styles.time}>{line.time ? clock(line.time) : ""}</span>}
                {label && <span className={styles.pod} title={`${line.pod} ${line.container}`}>{label}</span>}
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

// NotRead says what of the log is not among the lines.
function NotRead({ troubles, omitted }: { troubles: readonly Fault[]; omitted: number }) {
  if (troubles.length === 0 && omitted === 0) return null;
  return (
    <ul className={styles.troubles} aria-label="What is not read">
      {troubles.map(({ message, advice }) => <li key={message}><Icon name="warning" size={14} /><span>{sentence(message)}{advice && <span className="quiet"> {sentence(advice)}</span>}</span></li>)}
      {omitted > 0 && <li><Icon name="info" size={14} />{omitted} older {omitted === 1 ? "Pod is" : "Pods are"} not read. Choose one to read it.</li>}
    </ul>
  );
}

// told prefers what was said of the Pods to the end of the stream, which sums it up.
function told(trouble: Trouble | undefined, troubles: readonly Fault[]): Trouble {
  const [first] = troubles;
  if (!first) return trouble!;
  return { kind: "busy", title: "The log cannot be read", detail: [first.message, first.advice].filter(Boolean).map(sentence).join(". ") };
}

function clock(time: Date): string {
  return `${[time.getHours(), time.getMinutes(), time.getSeconds()].map((n) => String(n).padStart(2, "0")).join(":")}.${String(time.getMilliseconds()).padStart(3, "0")}`;
}
