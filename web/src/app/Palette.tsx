import { useEffect, useId, useMemo, useRef, useState, type KeyboardEvent } from "react";
import { useLocation } from "wouter";
import { useCall } from "~/api/useCall";
import { deliveryPath, pathOf, sourcePath, titleOf } from "~/api/refs";
import type { Hit } from "~/gen/plumb/v1/fleet_pb";
import { Modal } from "~/parts/dialog/Modal";
import { Icon, type IconName } from "~/parts/icon/Icon";
import { HealthMark } from "~/parts/state/State";
import { builtIn, useViews } from "~/pages/deliveries/views";
import { chooseTheme } from "~/theme/theme";
import { keyName, useShortcuts } from "./keys";
import { useRail } from "./rail";
import styles from "./Palette.module.css";

interface Line {
  id: string;
  title: string;
  detail: string;
  icon?: IconName;
  health?: string;
  keys?: string;
  run: () => void;
}

// Areas whose shortcuts make sense only where they are pressed.
const silent = ["Everywhere", "Lists", "List", "Search", "Graph search"];

// Palette finds whatever the server knows, and does what the console can do.
export default function Palette({ onClose }: { onClose: () => void }) {
  const [words, setWords] = useState("");
  const [asked, setAsked] = useState("");
  const [at, setAt] = useState(0);
  const [, navigate] = useLocation();
  const list = useRef<HTMLUListElement>(null);
  const id = useId();
  const rail = useRail();
  const views = useViews();
  const shortcuts = useShortcuts();

  // The server is asked when somebody stops writing for a moment.
  useEffect(() => {
    const timer = setTimeout(() => setAsked(words.trim()), 90);
    return () => clearTimeout(timer);
  }, [words]);
  const found = useCall(asked ? `search:${asked}` : null, (api, signal) => api.fleet.search({ text: asked, limit: 30 }, { signal }), { keep: true });

  const lines = useMemo((): Line[] => {
    const go = (path: string) => () => (onClose(), navigate(path));
    const here = shortcuts.filter(({ area }) => !silent.includes(area)).flatMap(({ area, shortcuts }) => shortcuts.filter(({ keys }) => keys !== "/").map(({ keys, label, run }): Line => ({ id: `here:${keys}`, title: label, detail: area, icon: "keyboard", keys, run: () => (onClose(), setTimeout(run)) })));
    const commands: Line[] = [
      // Tabs have digits: they are found by their names, and would hide the rest.
      ...here.filter(({ keys }) => words.trim() || !/^\d$/.test(keys!)),
      ...rail.map(({ rail: { label, icon, href } }) => ({ id: `page:${href}`, title: label, detail: "Page", icon, run: go(href) })),
      ...[...builtIn.slice(1), ...views].map(({ name, search }): Line => ({ id: `view:${name}`, title: name, detail: "View of deliveries", icon: "star", run: go(`/deliveries?${search}`) })),
      ...(["light", "dark", "system"] as const).map((theme): Line => ({ id: `theme:${theme}`, title: `Theme: ${theme}`, detail: "Appearance", icon: theme === "dark" ? "moon" : theme === "light" ? "sun" : "screen", run: () => (chooseTheme(theme), onClose()) })),
    ];
    const text = words.trim().toLowerCase();
    if (!text) return commands;
    const hits = asked && found.data ? found.data.hits.flatMap((hit) => hitLine(hit, go)) : [];
    const parts = text.split(/\s+/);
    return [...hits, ...commands.filter((c) => parts.every((part) => `${c.title} ${c.detail}`.toLowerCase().includes(part)))];
  }, [words, asked, found.data, rail, views, shortcuts, navigate, onClose]);

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
    <Modal label="Search everything" className={styles.modal} onClose={onClose}>
      <div className={styles.dialog}>
        <div className={styles.input}>
          <Icon name="search" />
          <input data-autofocus="" role="combobox" aria-expanded="true" aria-controls={id} aria-activedescendant={lines[at] ? `${id}-${at}` : undefined} aria-label="Search everything" placeholder="Deliveries, sources, objects, pages…" value={words} onChange={(e) => setWords(e.target.value)} onKeyDown={onKeyDown} spellCheck={false} autoComplete="off" />
          <kbd>Esc</kbd>
        </div>
        <ul ref={list} id={id} role="listbox" aria-label="Results" className={styles.list}>
          {lines.map((line, i) => (
            <li key={line.id} id={`${id}-${i}`} role="option" aria-selected={i === at} onMouseMove={() => setAt(i)} onClick={line.run}>
              {line.health !== undefined ? <HealthMark state={line.health} /> : <Icon name={line.icon ?? "right"} />}
              <span className={styles.title}>{line.title}</span>
              <span className={styles.detail}>{line.detail}</span>
              {line.keys && <kbd>{keyName(line.keys)}</kbd>}
            </li>
          ))}
        </ul>
        {lines.length === 0 && <p className={styles.none}>{found.loading || asked !== words.trim() ? "Searching…" : `Nothing is called “${words.trim()}”.`}</p>}
        {found.trouble && <p className={styles.none}>{found.trouble.title}</p>}
      </div>
    </Modal>
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
