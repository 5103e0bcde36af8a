// The console's icons, drawn for it: 16×16, one stroke, no fills but dots.
const paths = {
  deliveries: "M2.5 4.5 8 1.8l5.5 2.7v7L8 14.2l-5.5-2.7zM2.7 4.6 8 7.2l5.3-2.6M8 7.2v6.8",
  sources: "M5 3.5a1.5 1.5 0 1 1-3 0 1.5 1.5 0 0 1 3 0ZM5 12.5a1.5 1.5 0 1 1-3 0 1.5 1.5 0 0 1 3 0ZM14 5.5a1.5 1.5 0 1 1-3 0 1.5 1.5 0 0 1 3 0ZM3.5 5v6M12.5 7c0 2.5-3 3-7.5 3",
  clusters: "M2.5 3h11v4h-11zM2.5 9h11v4h-11zM5 5h.01M5 11h.01",
  projects: "M2 4.5V12.5h12V5.5H8L6.5 3.5H2zM2 5.5h6",
  sets: "M2.5 2.5h4.5v4.5H2.5zM9 2.5h4.5v4.5H9zM2.5 9h4.5v4.5H2.5zM9 9h4.5v4.5H9z",
  activity: "M1.5 8h3l2-5 3 10 2-5h3",
  settings: "M2 4.5h7M12 4.5h2M2 11.5h2M7 11.5h7M10.5 3v3M5.5 10v3",
  search: "M11.5 7a4.5 4.5 0 1 1-9 0 4.5 4.5 0 0 1 9 0ZM10.5 10.5 14 14",
  refresh: "M13 6.5A5.2 5.2 0 0 0 3.2 5.5M3 9.5a5.2 5.2 0 0 0 9.8 1M3 2.5v3h3M13 13.5v-3h-3",
  sync: "M3 6h9M9.5 3.5 12 6 9.5 8.5M13 10.5H4M6.5 8 4 10.5 6.5 13",
  pause: "M5.5 3.5v9M10.5 3.5v9",
  play: "M5 3v10l8-5z",
  check: "M3 8.5 6.5 12 13 4.5",
  close: "M4 4l8 8M12 4l-8 8",
  plus: "M8 3v10M3 8h10",
  minus: "M3 8h10",
  down: "M4 6l4 4 4-4",
  up: "M4 10l4-4 4 4",
  right: "M6 4l4 4-4 4",
  left: "M10 4 6 8l4 4",
  back: "M7 3.5 2.5 8 7 12.5M3 8h10.5",
  copy: "M5.5 5.5h8v8h-8zM10.5 5V2.5h-8v8H5",
  more: "M3 8h.01M8 8h.01M13 8h.01",
  filter: "M2 3.5h12M4.5 8h7M6.5 12.5h3",
  columns: "M2.5 3h11v10h-11zM6.2 3v10M9.8 3v10",
  table: "M2.5 3h11v10h-11zM2.5 6.3h11M2.5 9.7h11",
  tiles: "M2.5 3h5v4.5h-5zM9.5 3h4v4.5h-4zM2.5 9.5h5V13h-5zM9.5 9.5h4V13h-4z",
  fit: "M2.5 6V2.5H6M10 2.5h3.5V6M13.5 10v3.5H10M6 13.5H2.5V10",
  group: "M2.5 3.5h11M5 7h8.5M5 10h8.5M2.5 13.5h11",
  star: "M8 2l1.8 3.9 4.2.5-3.1 2.9.8 4.2L8 11.4l-3.7 2.1.8-4.2L2 6.4l4.2-.5z",
  link: "M6.5 9.5l3-3M7 4.5l1.5-1.5a2.8 2.8 0 0 1 4 4L11 8.5M9 11.5 7.5 13a2.8 2.8 0 0 1-4-4L5 7.5",
  external: "M9.5 2.5h4v4M13.5 2.5 7.5 8.5M11.5 9.5v4h-9v-9h4",
  help: "M14 8A6 6 0 1 1 2 8a6 6 0 0 1 12 0ZM6.2 6.2a1.8 1.8 0 1 1 2.6 1.7c-.5.3-.8.6-.8 1.1v.200M8 11.3h.01",
  info: "M14 8A6 6 0 1 1 2 8a6 6 0 0 1 12 0ZM8 7.5V11M8 5h.01",
  warning: "M8 2.5 14.2 13.2H1.8zM8 6.5v3.2M8 11.5h.01",
  error: "M5.5 2h5L14 5.5v5L10.5 14h-5L2 10.5v-5zM8 5v3.5M8 11h.01",
  lock: "M4 7.5h8v6H4zM5.5 7.5V5a2.5 2.5 0 0 1 5 0v2.5",
  sun: "M10.5 8a2.5 2.5 0 1 1-5 0 2.5 2.5 0 0 1 5 0ZM8 1.5v1.5M8 13v1.5M1.5 8H3M13 8h1.5M3.4 3.4l1.1 1.1M11.5 11.5l1.1 1.1M12.6 3.4l-1.1 1.1M4.5 11.5l-1.1 1.1",
  moon: "M13.5 9.5A5.8 5.8 0 0 1 6.5 2.5a5.8 5.8 0 1 0 7 7Z",
  screen: "M2 3h12v8H2zM6 13.5h4M8 11v2.5",
  person: "M10.5 5.5a2.5 2.5 0 1 1-5 0 2.5 2.5 0 0 1 5 0ZM3 13.5c.5-2.5 2.5-3.8 5-3.8s4.5 1.3 5 3.8",
  exit: "M6 2.5H3v11h3M7 8h6.5M11 5.5 13.5 8 11 10.5",
  clock: "M14 8A6 6 0 1 1 2 8a6 6 0 0 1 12 0ZM8 4.5V8l2.5 1.5",
  history: "M2.5 8A5.5 5.5 0 1 0 4 4.2L2.5 5.7M2.5 2.5v3.2h3.2M8 5v3l2 1.5",
  commit: "M11 8a3 3 0 1 1-6 0 3 3 0 0 1 6 0ZM1.5 8H5M11 8h3.5",
  branch: "M4.5 2v9M4.5 12.5a1.5 1.5 0 1 1 0 .01M11.5 4.5a1.5 1.5 0 1 1 0 .01M11.5 6c0 3-4 2.5-6.5 4.5",
  graph: "M6 2.5h4v3H6zM1.5 10.5h4v3h-4zM10.5 10.5h4v3h-4zM8 5.5V8M3.5 10.5V8h9v2.5",
  diff: "M5 2.5v6M2 5.5h6M2 12.5h6M11 3.5h3M11 8h3M11 12.5h3",
  logs: "M3 4l2.5 2.5L3 9M7 9.5h6M3 13h10",
  file: "M3.5 1.8h6L12.5 5v9.2h-9zM9.2 2v3.2h3.2",
  bell: "M4 11V7a4 4 0 0 1 8 0v4l1 1.5H3zM6.8 14h2.4",
  eye: "M1.5 8S4 3.8 8 3.8 14.5 8 14.5 8 12 12.2 8 12.2 1.5 8 1.5 8ZM9.8 8a1.8 1.8 0 1 1-3.6 0 1.8 1.8 0 0 1 3.6 0Z",
  trash: "M2.5 4.5h11M6 4V2.5h4V4M4 4.5l.7 9h6.6l.7-9M6.8 7v4M9.2 7v4",
  rollback: "M6 3 2.5 6.5 6 10M3 6.5h6.5a4 4 0 0 1 0 7.5H7",
  stop: "M4 4h8v8H4z",
  keyboard: "M1.5 4h13v8h-13zM4 6.5h.01M6.7 6.5h.01M9.3 6.5h.01M12 6.5h.01M5 9.5h6",
  arrowUp: "M8 13V3.5M4 7l4-4 4 4",
  arrowDown: "M8 3v9.5M4 9l4 4 4-4",
  hand: "M5 8V4a1 1 0 0 1 2 0v3.5V3a1 1 0 0 1 2 0v4.5V4a1 1 0 0 1 2 0v6c0 2.5-1.5 4-3.7 4C4.5 14 4 12 2.5 9.5c-.3-.8.8-1.5 1.5-.7L5 10",
} as const;

export type IconName = keyof typeof paths;

// Icon is never read out: what it stands for is said by words beside it.
export function Icon({ name, size = 16, className }: { name: IconName; size?: number; className?: string }) {
  return (
    <svg
      className={className}
      width={size}
      height={size}
      viewBox="0 0 16 16"
      fill="none"
      stroke="currentColor"
      strokeWidth={1.4}
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
    >
      <path d={paths[name]} />
    </svg>
  );
}
