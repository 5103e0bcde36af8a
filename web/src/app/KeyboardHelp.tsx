import { Dialog } from "~/parts/dialog/Dialog";
import { keyName, useShortcuts } from "./keys";
import styles from "./KeyboardHelp.module.css";

const lists = [
  { keys: "j", label: "Next row" },
  { keys: "k", label: "Row before" },
  { keys: "Enter", label: "Open" },
  { keys: "x", label: "Select (Shift: up to here)" },
  { keys: "Escape", label: "Close, or clear the selection" },
];

// KeyboardHelp lists the shortcuts of what is shown at this moment.
export default function KeyboardHelp({ onClose }: { onClose: () => void }) {
  const areas = byArea([...useShortcuts(), { area: "Lists", shortcuts: lists }]);
  return (
    <Dialog title="Keyboard" onClose={onClose} size="m">
      <div className={styles.areas}>
        {areas.map(([area, shortcuts]) => (
          <section key={area}>
            <h3>{area}</h3>
            <dl>
              {shortcuts.map(({ keys, label }) => (
                <div key={keys}>
                  <dt>{label}</dt>
                  <dd>{keys.split(" ").map((key, i) => <kbd key={i}>{keyName(key)}</kbd>)}</dd>
                </div>
              ))}
            </dl>
          </section>
        ))}
      </div>
    </Dialog>
  );
}

type Line = { keys: string; label: string };

// byArea leaves out what a key would do if what is shown before did not take it.
function byArea(entries: readonly { area: string; shortcuts: readonly Line[] }[]): [string, Line[]][] {
  const areas = new Map<string, Line[]>();
  const taken = new Set<string>();
  for (const { area, shortcuts } of entries) {
    const free = shortcuts.filter(({ keys }) => !taken.has(keys));
    free.forEach(({ keys }) => taken.add(keys));
    if (free.length > 0) areas.set(area, [...(areas.get(area) ?? []), ...free]);
  }
  return [...areas];
}
