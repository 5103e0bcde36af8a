// Short messages about what was done, at the corner of the screen. Errors stay
// until they are closed; the rest goes by itself, and waits while looked at.
import { useEffect, useState, useSyncExternalStore } from "react";
import { announce } from "../announce/announce";
import { IconButton } from "../button/Button";
import { Icon } from "../icon/Icon";
import styles from "./toast.module.css";

export interface Toast {
  tone: "good" | "bad" | "plain";
  title: string;
  detail?: string;
}

type Shown = Toast & { id: number };
let shown: readonly Shown[] = [];
let next = 1;
const listeners = new Set<() => void>();

function set(toasts: readonly Shown[]) {
  shown = toasts;
  listeners.forEach((listener) => listener());
}

export function toast(message: Toast) {
  announce(message.detail ? `${message.title}. ${message.detail}` : message.title);
  set([...shown.slice(-3), { ...message, id: next++ }]);
}

const close = (id: number) => set(shown.filter((t) => t.id !== id));

function Card({ message }: { message: Shown }) {
  const [looked, setLooked] = useState(false);
  useEffect(() => {
    if (message.tone === "bad" || looked) return;
    const timer = setTimeout(() => close(message.id), 5_000);
    return () => clearTimeout(timer);
  }, [message, looked]);
  return (
    <li className={styles.card} data-tone={message.tone} onMouseEnter={() => setLooked(true)} onMouseLeave={() => setLooked(false)} onFocus={() => setLooked(true)} onBlur={() => setLooked(false)}>
      <Icon name={message.tone === "bad" ? "error" : message.tone === "good" ? "check" : "info"} />
      <div>
        <strong>{message.title}</strong>
        {message.detail && <p>{message.detail}</p>}
      </div>
      <IconButton icon="close" size="s" label="Close" onPress={() => close(message.id)} />
    </li>
  );
}

export function Toasts() {
  const toasts = useSyncExternalStore((listener) => (listeners.add(listener), () => listeners.delete(listener)), () => shown);
  return (
    <section aria-label="Messages">
      <ol className={styles.toasts}>{toasts.map((t) => <Card key={t.id} message={t} />)}</ol>
    </section>
  );
}
