import { lazy, Suspense, useEffect, useState, type ReactNode } from "react";
import { Link, useLocation } from "wouter";
import { useConnection } from "~/api/connection";
import { useSession } from "~/api/session";
import { pages } from "~/pages/registry";
import { Button } from "~/parts/button/Button";
import { Dialog } from "~/parts/dialog/Dialog";
import { Icon } from "~/parts/icon/Icon";
import { ChoiceMenu, Menu } from "~/parts/menu/Menu";
import { chooseTheme, useTheme, type Choice } from "~/theme/theme";
import { useShownCrumbs } from "./crumbs";
import { useKeys } from "./keys";
import { useRail, type RailEntry } from "./rail";
import styles from "./Shell.module.css";

const loadPalette = () => import("./Palette");
const Palette = lazy(loadPalette);
const KeyboardHelp = lazy(() => import("./KeyboardHelp"));

// Shell is what surrounds every page but the sign-in page.
export function Shell({ children }: { children: ReactNode }) {
  const [palette, setPalette] = useState(false);
  const [help, setHelp] = useState(false);
  const [, navigate] = useLocation();
  const rail = useRail();
  useKeys("Everywhere", [
    { keys: "mod+k", label: "Search everything", run: () => setPalette(true) },
    { keys: "?", label: "Show this help", run: () => setHelp(true) },
    ...rail.map(({ rail: { key, label, href } }) => ({ keys: `g ${key}`, label: `Go to ${label}`, run: () => navigate(href) })),
  ], { surrounding: true });
  // Pages with a search of their own take "/" for it.
  useKeys("Search", [{ keys: "/", label: "Search", run: () => setPalette(true) }], { surrounding: true });
  useEffect(fetchPages, []);
  return (
    <div className={styles.shell}>
      <a className={styles.skip} href="#content" onClick={(event) => (event.preventDefault(), document.getElementById("content")?.focus())}>Skip to content</a>
      <Rail entries={rail} onHelp={() => setHelp(true)} />
      <header className={styles.bar}>
        <Breadcrumbs />
        <button type="button" className={styles.find} onClick={() => setPalette(true)} aria-label="Search everything">
          <Icon name="search" size={14} />
          <span>Search everything</span>
          <kbd>{/Mac/.test(navigator.platform) ? "⌘" : "Ctrl "}K</kbd>
        </button>
        <Connection />
        <ThemeSwitch />
        <Person />
      </header>
      <main id="content" className={styles.main} tabIndex={-1}>{children}</main>
      <BottomBar entries={rail} />
      <Suspense fallback={null}>
        {palette && <Palette onClose={() => setPalette(false)} />}
        {help && <KeyboardHelp onClose={() => setHelp(false)} />}
      </Suspense>
    </div>
  );
}

// fetchPages fetches the code of all pages when the first has long been shown: they
// open at once then, also when the server is upgraded or away meanwhile.
function fetchPages() {
  const timer = setTimeout(() => void Promise.allSettled([...pages.map(({ load }) => load()), loadPalette()]), 4_000);
  return () => clearTimeout(timer);
}

function Rail({ entries, onHelp }: { entries: RailEntry[]; onHelp: () => void }) {
  const [path] = useLocation();
  return (
    <nav className={styles.rail} aria-label="Pages">
      <Link href="/deliveries" className={styles.brand} aria-label="Plumb, deliveries">
        <Mark />
        <span>Plumb</span>
      </Link>
      <ul>
        {entries.map(({ id, rail, load }) => (
          <li key={id}>
            <Link href={rail.href} aria-current={path.startsWith(rail.href) ? "page" : undefined} onMouseEnter={() => void load()} onFocus={() => void load()} title={rail.label}>
              <Icon name={rail.icon} />
              <span>{rail.label}</span>
            </Link>
          </li>
        ))}
      </ul>
      <button type="button" className={styles.help} onClick={onHelp} title="Keyboard shortcuts">
        <Icon name="keyboard" />
        <span>Shortcuts</span>
        <kbd>?</kbd>
      </button>
    </nav>
  );
}

export function Mark({ size = 24 }: { size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 32 32" aria-hidden="true" className={styles.mark}>
      <rect width="32" height="32" rx="8" />
      <path d="M16 4.5v7.5M11 12h10l-1.2 6.2L16 27.5l-3.8-9.3Z" />
    </svg>
  );
}

function Breadcrumbs() {
  const crumbs = useShownCrumbs();
  return (
    <nav className={styles.crumbs} aria-label="Breadcrumbs">
      <ol>
        {crumbs.map((crumb, i) => (
          <li key={i}>
            {crumb.href ? <Link href={crumb.href}>{crumb.label}</Link> : <span aria-current={i === crumbs.length - 1 ? "page" : undefined}>{crumb.label}</span>}
          </li>
        ))}
      </ol>
    </nav>
  );
}

const connectionWords = {
  live: ["Live", "Changes appear by themselves"],
  connecting: ["Connecting", "Changes will appear by themselves"],
  retrying: ["Reconnecting", "The connection was lost; what you see may be a little old"],
  ended: ["Not live", "This page does not follow changes"],
} as const;

function Connection() {
  const state = useConnection();
  if (state === "none") return <span className={styles.connection} />;
  const [word, detail] = connectionWords[state];
  return (
    <span className={styles.connection} data-state={state} role="status" title={detail}>
      <i />
      <span>{word}</span>
    </span>
  );
}

const themes = [
  { id: "system", label: "As the system", icon: "screen" },
  { id: "light", label: "Light", icon: "sun" },
  { id: "dark", label: "Dark", icon: "moon" },
] as const;

export function ThemeSwitch() {
  const theme = useTheme();
  const now = themes.find((t) => t.id === theme)!;
  return (
    <ChoiceMenu
      title="Theme"
      button={<Button look="ghost" icon={now.icon} aria-label={`Theme: ${now.label}`} />}
      items={themes.map((t) => ({ ...t }))}
      chosen={[theme]}
      onChoose={([choice]) => choice && chooseTheme(choice as Choice)}
    />
  );
}

function Person() {
  const { me, signOut } = useSession();
  const [, navigate] = useLocation();
  if (!me) return <span className={styles.nobody} />;
  if (me.kind === "anonymous") return <Button look="ghost" icon="person" onPress={() => navigate("/signin")}>Sign in</Button>;
  return (
    <Menu
      label="You"
      button={<Button look="ghost" icon="person" aria-label={`Signed in as ${me.name}`}><span className={styles.name}>{me.name}</span></Button>}
      items={[
        { id: "who", label: me.name, note: me.kind, disabled: me.groups.length > 0 ? me.groups.join(", ") : me.issuer || " " },
        { id: "out", label: "Sign out", icon: "exit" },
      ]}
      onAction={(id) => id === "out" && void signOut()}
    />
  );
}

// On a phone, pages are reached from below: three of them, and the rest in a sheet.
function BottomBar({ entries }: { entries: RailEntry[] }) {
  const [path] = useLocation();
  const [more, setMore] = useState(false);
  const first = entries.filter((e) => ["deliveries", "sources", "activity"].includes(e.id));
  const rest = entries.filter((e) => !first.includes(e));
  return (
    <>
      <nav className={styles.bottom} aria-label="Main pages">
        {first.map(({ id, rail }) => (
          <Link key={id} href={rail.href} aria-current={path.startsWith(rail.href) ? "page" : undefined}>
            <Icon name={rail.icon} size={20} />
            {rail.label}
          </Link>
        ))}
        <button type="button" onClick={() => setMore(true)} aria-current={rest.some((e) => path.startsWith(e.rail.href)) ? "page" : undefined}>
          <Icon name="more" size={20} />
          More
        </button>
      </nav>
      {more && (
        <Dialog title="Pages" onClose={() => setMore(false)} look="sheet" size="s">
          <ul className={styles.sheet}>
            {rest.map(({ id, rail }) => (
              <li key={id}><Link href={rail.href} onClick={() => setMore(false)}><Icon name={rail.icon} size={18} />{rail.label}</Link></li>
            ))}
          </ul>
        </Dialog>
      )}
    </>
  );
}

