import { useEffect, useId, useMemo, useRef, useState, type KeyboardEvent } from "react";
import { Dialog as AriaDialog, Modal, ModalOverlay } from "react-aria-components";
import { useLocation } from "wouter";
import { useCall } from "~/api/useCall";
import { deliveryPath, pathOf, sourcePath, titleOf } from "~/api/refs";
import type { Hit } from "~/gen/plumb/v1/fleet_pb";
import { Icon, type IconName } from "~/parts/icon/Icon";
import { HealthMark } from "~/parts/state/State";
import { chooseTheme } from "~/theme/theme";
import { useRail } from "./Shell";
import styles from "./Palette.module.css";

interface Line {
  id: string;
  title: string;
  detail: string;
  icon?: IconName;
  health?: string;
  run: () => void;
}

// Palette finds whatever the server knows, and does what the console can do.
export function Palette({ onClose }: { onClose: () => void }) {
  const [words, setWords] = useState("");
  const [asked, setAsked] = useState("");
  const [at, setAt] = useState(0);
  const [, navigate] = useLocation();
  const list = useRef<HTMLUListElement>(null);
  const id = useId();
  const rail = useRail();

  // The server is asked when somebody stops writing for a moment.
  useEffect(() => {
    const timer = setTimeout(() => setAsked(words.trim()), 90);
    return () => clearTimeout(timer);
  }, [words]);
  const found = useCall(asked ? `search:${asked}` : null, (api, signal) => api.fleet.search({ text: asked, limit: 30 }, { signal }), { keep: true });

  const lines = useMemo((): Line[] => {
    const go = (path: string) => () => (onClose(), navigate(path));
    const commands: Line[] = [
      ...rail.map(({ rail: { label, icon, href } }) => ({ id: `page:${href}`, title: label, detail: "Page", icon, run: go(href) })),
      { id: "wrong", title: "What is wrong", detail: "Deliveries that are degraded or missing", icon: "warning", run: go("/deliveries?health=Degraded&health=Missing") },
      ...(["light", "dark", "system"] as const).map((theme): Line => ({ id: `theme:${theme}`, title: `Theme: ${theme}`, detail: "Appearance", icon: theme === "dark" ? "moon" : theme === "light" ? "sun" : "screen", run: () => (chooseTheme(theme), onClose()) })),
    ];
    const text = words.trim().toLowerCase();
    if (!text) return commands;
    const hits = asked && found.data ? found.data.hits.flatMap((hit) => hitLine(hit, go)) : [];
    return [...hits, ...commands.filter((c) => c.title.toLowerCase().includes(text))];
  }, [words, asked, found.data, rail, navigate, onClose]);

  useEffect(() => setAt(0), [words]);
  useEffect(() => void list.current?.children[at]?.scrollIntoView({ block: "nearest" }), [at]);

  const onKeyDown = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) setAt((now) => (now + step + lines.length) % Math.max(1, lines.length));
    else if (event.key === "Enter") lines[at]?.run();
    else return;
    event.preventDefault();
  };

  return (
    <ModalOverlay className={styles.veil} isOpen isDismissable onOpenChange={(open) => !open && onClose()}>
      <Modal className={styles.modal}>
        <AriaDialog aria-label="Search everything" className={styles.dialog}>
          <div className={styles.input}>
            <Icon name="search" />
            <input autoFocus role="combobox" aria-expanded="true" aria-controls={id} aria-activedescendant={lines[at] ? `${id}-${at}` : undefined} aria-label="Search everything" placeholder="Deliveries, sources, objects, pages…" value={words} onChange={(e) => setWords(e.target.value)} onKeyDown={onKeyDown} spellCheck={false} autoComplete="off" />
            <kbd>Esc</kbd>
          </div>
          <ul ref={list} id={id} role="listbox" aria-label="Results" className={styles.list}>
            {lines.map((line, i) => (
              <li key={line.id} id={`${id}-${i}`} role="option" aria-selected={i === at} onMouseMove={() => setAt(i)} onClick={line.run}>
                {line.health !== undefined ? <HealthMark state={line.health} /> : <Icon name={line.icon ?? "right"} />}
                <span className={styles.title}>{line.title}</span>
                <span className={styles.detail}>{line.detail}</span>
              </li>
            ))}
          </ul>
          {lines.length === 0 && <p className={styles.none}>{found.loading || asked !== words.trim() ? "Searching…" : `Nothing is called “${words.trim()}”.`}</p>}
          {found.trouble && <p className={styles.none}>{found.trouble.title}</p>}
        </AriaDialog>
      </Modal>
    </ModalOverlay>
  );
}

function hitLine(hit: Hit, go: (path: string) => () => void): Line[] {
  if (!hit.ref) return [];
  const inside = hit.type === "object" && hit.delivery;
  const path = inside ? `${deliveryPath(hit.delivery!, "graph")}?object=${encodeURIComponent(`${hit.ref.group}/${hit.ref.kind}/${hit.ref.namespace}/${hit.ref.name}`)}` : hit.type === "source" ? sourcePath(hit.ref) : pathOf(hit.ref);
  if (!path) return [];
  const detail = inside ? `${hit.ref.kind} of ${hit.delivery!.name}` : [hit.ref.kind, hit.detail].filter(Boolean).join(" · ");
  return [{ id: `${hit.type}:${path}`, title: titleOf(hit.ref), detail, health: hit.health?.state ?? "Unknown", run: go(path) }];
}
