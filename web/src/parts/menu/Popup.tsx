// What opens below the button of a menu: the keys of the menu pattern of the
// ARIA Authoring Practices, in the browser's top layer.
import { useEffect, useLayoutEffect, useRef, type FocusEvent, type KeyboardEvent } from "react";
import { Icon } from "../icon/Icon";
import type { Choosing, Item } from "./Menu";
import { sentence } from "../words/sentence";
import styles from "./Menu.module.css";

export interface PopupProps {
  trigger: HTMLElement;
  label: string;
  heading?: boolean; // label stands above the items
  items: readonly Item[];
  end?: boolean; // it is level with the end of the button
  choosing?: Choosing;
  onAction?: (id: string) => void;
  onClose: () => void;
}

const gap = 4;
const margin = 8;
// How long letters belong to one word that is looked for.
const word = 600;

export function Popup({ trigger, label, heading, items, end, choosing, onAction, onClose }: PopupProps) {
  const popup = useRef<HTMLDivElement>(null);
  const typed = useRef({ text: "", at: 0 });
  const lines = () => [...popup.current!.querySelectorAll<HTMLElement>("[data-line]")];

  useLayoutEffect(() => {
    const element = popup.current!;
    element.showPopover();
    const place = () => placeBelow(element, trigger, !!end);
    place();
    const first = items.findIndex((item) => choosing && !choosing.several && choosing.chosen.includes(item.id));
    lines()[Math.max(0, first)]?.focus({ preventScroll: true });
    window.addEventListener("resize", place);
    return () => window.removeEventListener("resize", place);
  }, []);
  useEffect(() => {
    const onPointerDown = (event: PointerEvent) => {
      if (!popup.current!.contains(event.target as Node) && !trigger.contains(event.target as Node)) onClose();
    };
    document.addEventListener("pointerdown", onPointerDown, true);
    return () => document.removeEventListener("pointerdown", onPointerDown, true);
  }, [trigger, onClose]);

  const leave = () => {
    trigger.focus({ preventScroll: true });
    onClose();
  };
  const choose = (item: Item) => {
    if (item.disabled) return;
    if (choosing?.several) {
      const chosen = new Set(choosing.chosen);
      if (!chosen.delete(item.id)) chosen.add(item.id);
      return choosing.onChoose(items.map((i) => i.id).filter((id) => chosen.has(id)));
    }
    leave();
    choosing?.onChoose([item.id]);
    onAction?.(item.id);
  };
  const find = (letter: string) => {
    const now = Date.now();
    const text = (now - typed.current.at < word ? typed.current.text : "") + letter.toLowerCase();
    typed.current = { text, at: now };
    const all = lines();
    const from = Math.max(0, all.indexOf(document.activeElement as HTMLElement));
    // One letter again and again goes through all that begin with it.
    const start = text.length === 1 ? from + 1 : from;
    for (let i = 0; i < items.length; i++) {
      const at = (start + i) % items.length;
      if (textOf(items[at]!).toLowerCase().startsWith(text)) return all[at]!.focus();
    }
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const all = lines();
    const at = all.indexOf(document.activeElement as HTMLElement);
    const to: Record<string, number> = { ArrowDown: (at + 1) % all.length, ArrowUp: (at - 1 + all.length) % all.length, Home: 0, PageUp: 0, End: all.length - 1, PageDown: all.length - 1 };
    if (event.key in to) all[to[event.key]!]?.focus();
    else if (event.key === "Enter" || event.key === " ") at >= 0 && choose(items[at]!);
    else if (event.key === "Escape") leave();
    else if (event.key === "Tab") return leave(); // and on to what comes after the button
    else if (event.key.length === 1 && !event.ctrlKey && !event.metaKey && !event.altKey) find(event.key);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  // It does not stay open when something else takes the focus.
  const onBlur = (event: FocusEvent) => event.relatedTarget && !popup.current!.contains(event.relatedTarget) && event.relatedTarget !== trigger && onClose();

  const role = !choosing ? "menuitem" : choosing.several ? "menuitemcheckbox" : "menuitemradio";
  return (
    <div ref={popup} popover="manual" className={styles.popover} onKeyDown={onKeyDown} onBlur={onBlur}>
      {heading && <p className={styles.title} aria-hidden="true">{label}</p>}
      <div role="menu" aria-label={label} className={styles.menu}>
        {items.map((item) => {
          const chosen = choosing?.chosen.includes(item.id);
          return (
            <div key={item.id} role={role} data-line="" tabIndex={-1} aria-checked={choosing ? chosen : undefined} aria-disabled={item.disabled ? true : undefined} className={styles.item} data-danger={item.danger || undefined} onClick={() => choose(item)} onPointerMove={(event) => document.activeElement !== event.currentTarget && event.currentTarget.focus({ preventScroll: true })}>
              {choosing ? <span className={styles.tick}>{chosen && <Icon name="check" size={14} />}</span> : item.icon && <Icon name={item.icon} />}
              <span className={styles.label}>
                {item.label}
                {item.disabled && <span className={styles.why}>{sentence(item.disabled)}</span>}
              </span>
              {item.note && <span className={styles.note}>{item.note}</span>}
            </div>
          );
        })}
      </div>
    </div>
  );
}

function textOf(item: Item): string {
  return item.text ?? (typeof item.label === "string" ? item.label : item.id);
}

// placeBelow puts a popup below its button, or above it where there is more room.
function placeBelow({ style, offsetWidth: width, offsetHeight: height }: HTMLElement, button: HTMLElement, end: boolean) {
  const at = button.getBoundingClientRect();
  const below = window.innerHeight - at.bottom - gap - margin;
  const above = at.top - gap - margin;
  const up = height > below && above > below;
  style.maxHeight = `${Math.max(120, up ? above : below)}px`;
  style.top = up ? "auto" : `${at.bottom + gap}px`;
  style.bottom = up ? `${window.innerHeight - at.top + gap}px` : "auto";
  style.left = `${Math.max(margin, Math.min(window.innerWidth - width - margin, end ? at.right - width : at.left))}px`;
}
