import { useCallback, useMemo, useRef, useState } from "react";
import { keyOf } from "~/api/refs";
import { useKeys } from "~/app/keys";
import { Button } from "~/parts/button/Button";
import { Choice, SearchField, Switch } from "~/parts/field/Field";
import { Icon } from "~/parts/icon/Icon";
import { ChoiceMenu } from "~/parts/menu/Menu";
import { HealthMark } from "~/parts/state/State";
import { Bone, Empty, TroubleState } from "~/parts/states/States";
import { useNarrow } from "~/parts/table/useNarrow";
import { useAddress } from "../address";
import { countsOf } from "../overview/resources";
import { panelId } from "../object/ObjectPanel";
import { Canvas } from "./Canvas";
import { GraphList } from "./GraphList";
import { healthOf, shapeOf, type Item } from "./shape";
import type { Graph } from "./useGraph";
import styles from "./Graph.module.css";

export function GraphTab({ graph, covered }: { graph: Graph; covered: number }) {
  const { nodes, arrived, note, trouble } = graph;
  const address = useAddress();
  const { params } = address;
  const narrow = useNarrow();
  const [opened, setOpened] = useState<ReadonlySet<string>>(new Set());
  const view = params.get("view") === "list" || (narrow && params.get("view") !== "graph") ? "list" : "graph";
  const all = params.get("fold") === "no";
  const chosen = params.get("object") ?? "";
  const wanted = useMemo(() => ({ text: params.get("q") ?? "", health: params.getAll("health"), kind: params.getAll("kind") }), [params]);
  const keep = nodes.has(chosen) ? chosen : "";
  const shape = useMemo(() => shapeOf(nodes, wanted, { opened, keep, all: all || view === "list" }), [nodes, wanted.text, String(wanted.health), String(wanted.kind), opened, keep, all, view]);
  const values = useMemo(() => [...nodes.values()], [nodes]);
  const search = useRef<HTMLInputElement>(null);
  useKeys("Graph search", [{ keys: "/", label: "Find in the graph", run: () => search.current?.focus() }]);

  const open = useCallback(
    (item: Item, byKeyboard: boolean) => {
      if (item.group) return setOpened((before) => toggled(before, item.id));
      const key = keyOf(item.node!.object);
      // The first Enter opens the details and leaves one in the graph; the second goes there.
      if (key === address.get("object")) byKeyboard && document.getElementById(panelId)?.focus();
      else address.set({ object: key }, address.get("object") === "");
    },
    [address],
  );
  const choose = (name: string) => (ids: string[]) => {
    const next = new URLSearchParams(params);
    next.delete(name);
    ids.forEach((id) => next.append(name, id));
    address.replace(next);
  };

  if (!arrived && trouble) return <div className={styles.blank}><TroubleState trouble={trouble} /></div>;
  const narrowed = shape.matching < nodes.size;
  return (
    <div className={styles.graph}>
      <div className={styles.bar}>
        <SearchField label="Find in the graph" keys="/" ref={search} value={wanted.text} onChange={(q) => address.set({ q })} placeholder="Name, kind, image, node…" />
        <ChoiceMenu several title="Health" chosen={wanted.health} onChoose={choose("health")} button={<Button size="s" icon="down" aria-pressed={wanted.health.length > 0}>{wanted.health.join(", ") || "Health"}</Button>} items={countsOf(values, healthOf).map(([state, count]) => ({ id: state, text: state, note: String(count), label: <span className={styles.choice}><HealthMark state={state} silent />{state}</span> }))} />
        <ChoiceMenu several title="Kind" chosen={wanted.kind} onChoose={choose("kind")} button={<Button size="s" icon="down" aria-pressed={wanted.kind.length > 0}>{wanted.kind.join(", ") || "Kind"}</Button>} items={countsOf(values, (n) => n.object!.kind).map(([kind, count]) => ({ id: kind, label: kind, note: String(count) }))} />
        <span className={styles.count} role="status">{arrived && (narrowed ? `${shape.matching} of ${nodes.size} objects` : `${nodes.size} objects`)}</span>
        <div className={styles.end}>
          {note && <span className={styles.note}><Icon name="warning" size={14} />{note}</span>}
          {view === "graph" && <Switch on={!all} onChange={(on) => address.set({ fold: on ? null : "no" })}>Group alike</Switch>}
          <Choice label="Show as" value={view} onChange={(id) => address.set({ view: id })} options={[{ id: "graph", label: <><Icon name="graph" size={14} />Graph</> }, { id: "list", label: <><Icon name="table" size={14} />List</> }]} />
        </div>
      </div>
      <div className={styles.stage}>
        {!arrived ? (
          <Waiting />
        ) : shape.items.length === 0 ? (
          <div className={styles.blank}><Empty title={nodes.size === 0 ? "Nothing is delivered yet" : "No object is like this"} action={nodes.size > 0 && <Button onPress={() => address.set({ q: null, health: null, kind: null })}>Show all {nodes.size}</Button>} /></div>
        ) : view === "list" ? (
          <GraphList shape={shape} hrefOf={(item) => address.href({ object: keyOf(item.node!.object) })} />
        ) : (
          <Canvas shape={shape} chosen={keep} covered={covered} onOpen={open} />
        )}
      </div>
    </div>
  );
}

function Waiting() {
  return (
    <div className={styles.waiting} role="status" aria-label="Loading the graph">
      {[3, 2, 1, 2, 1, 1].map((count, row) => <div key={row}>{Array.from({ length: count }, (_, i) => <Bone key={i} width={236} height={46} />)}</div>)}
    </div>
  );
}

function toggled(set: ReadonlySet<string>, id: string): ReadonlySet<string> {
  const next = new Set(set);
  if (!next.delete(id)) next.add(id);
  return next;
}
