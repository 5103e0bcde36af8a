import { memo } from "react";
import type { Node } from "~/gen/plumb/v1/deliveries_pb";
import { Icon } from "~/parts/icon/Icon";
import { healthMark, syncMark, type Tone } from "~/parts/state/marks";
import { HealthMark, SyncMark } from "~/parts/state/State";
import type { Box } from "./layout";
import { healthOf, type Group, type Item } from "./shape";
import styles from "./Graph.module.css";

export interface CardProps {
  item: Item;
  box: Box;
  active: boolean; // it has the focus, or would get it
  chosen: boolean;
  onPress: (item: Item, event: { detail: number }) => void;
  onFocus: (id: string) => void;
}

// Card is one object, or one group of many alike.
export const Card = memo(function Card({ item, box, active, chosen, onPress, onFocus }: CardProps) {
  return (
    <button
      type="button"
      className={item.group ? styles.group : styles.card}
      style={{ translate: `${box.x}px ${box.y}px`, width: box.width, height: box.height }}
      data-item={item.id}
      data-tone={toneOf(item)}
      data-made={(item.node && !item.node.delivered && item.depth > 0) || undefined}
      data-root={item.depth === 0 || undefined}
      data-context={item.context || undefined}
      data-chosen={chosen || undefined}
      aria-label={wordsOf(item)}
      aria-expanded={item.group ? item.group.open : undefined}
      aria-current={chosen ? "true" : undefined}
      title={item.node ? `${item.node.object!.kind} ${item.node.object!.name}${item.node.health?.message ? `\n${item.node.health.message}` : ""}` : undefined}
      tabIndex={active ? 0 : -1}
      onClick={(event) => onPress(item, event)}
      onFocus={() => onFocus(item.id)}
    >
      {item.group ? <GroupInside group={item.group} /> : <Inside node={item.node!} />}
    </button>
  );
}, same);

// The boxes and items of a layout are new in each; what they say seldom is.
function same(a: CardProps, b: CardProps): boolean {
  return (
    a.active === b.active && a.chosen === b.chosen && a.onPress === b.onPress && a.onFocus === b.onFocus &&
    a.box.x === b.box.x && a.box.y === b.box.y && a.box.height === b.box.height &&
    a.item.id === b.item.id && a.item.node === b.item.node && a.item.context === b.item.context && a.item.depth === b.item.depth &&
    a.item.group?.open === b.item.group?.open && String(a.item.group?.tally) === String(b.item.group?.tally)
  );
}

function Inside({ node }: { node: Node }) {
  const { object, sync, prune, hook, info } = node;
  const [head, tail] = parted(object!.name);
  const facts = [object!.kind, hook && "hook", ...info.slice(0, 2)].filter(Boolean).join(" · ");
  return (
    <>
      <span className={styles.words}>
        <span className={styles.name} data-prune={prune || undefined}><span>{head}</span>{tail}</span>
        <span className={styles.facts}>{facts}</span>
      </span>
      {sync === "OutOfSync" && <SyncMark state={sync} silent />}
      <HealthMark state={healthOf(node)} silent />
    </>
  );
}

function GroupInside({ group }: { group: Group }) {
  return (
    <>
      <Icon name="right" size={14} className={group.open ? styles.turned : undefined} />
      <span className={styles.words}><span className={styles.name}>{group.members.length} {plural(group.kind)}</span></span>
      <span className={styles.tally}>{group.tally.map(([state, count]) => <span key={state}><HealthMark state={state} silent />{group.tally.length > 1 && count}</span>)}</span>
    </>
  );
}

export function toneOf(item: Item): Tone {
  return healthMark(item.node ? healthOf(item.node) : item.group!.tally[0]?.[0]).tone;
}

export function wordsOf(item: Item): string {
  if (item.group) return `${item.group.members.length} ${plural(item.group.kind)}: ${item.group.tally.map(([state, count]) => `${count} ${state}`).join(", ")}`;
  const { object, sync, info, prune } = item.node!;
  const states = [healthOf(item.node!), sync === "OutOfSync" && syncMark(sync).word, prune && "to be pruned"].filter(Boolean);
  return [`${object!.kind} ${object!.name}`, ...states, ...info].join(", ");
}

// parted cuts a long name before its end, which is what tells Pods apart.
export function parted(name: string): [head: string, tail: string] {
  if (name.length <= 24) return [name, ""];
  const at = name.lastIndexOf("-", name.length - 5);
  const cut = at > name.length - 14 && at > 8 ? at : name.length - 8;
  return [name.slice(0, cut), name.slice(cut)];
}

function plural(kind: string): string {
  if (/(s|x|ch|sh)$/.test(kind)) return `${kind}es`;
  return /[^aeiou]y$/.test(kind) ? `${kind.slice(0, -1)}ies` : `${kind}s`;
}
