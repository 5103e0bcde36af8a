// One colour, one shape and one word for each state of health and sync. The
// shapes differ in outline, so that they are told apart without colour.
import type { ReactNode } from "react";

export type HealthState = "Healthy" | "Progressing" | "Degraded" | "Suspended" | "Missing" | "Unknown";
export type SyncState = "Synced" | "OutOfSync" | "Unknown";
export type Tone = "good" | "busy" | "bad" | "warn" | "idle";

export interface Mark {
  tone: Tone;
  shape: ReactNode;
}

const stroke = { fill: "none", stroke: "currentColor", strokeWidth: 1.6, strokeLinecap: "round", strokeLinejoin: "round" } as const;

export const healthMarks: Record<HealthState, Mark> = {
  Healthy: {
    tone: "good",
    shape: (
      <>
        <circle cx="8" cy="8" r="6.5" fill="currentColor" />
        <path d="M5 8.3 7.2 10.5 11.2 6" {...stroke} stroke="var(--mark-ink)" />
      </>
    ),
  },
  Progressing: {
    tone: "busy",
    shape: (
      <>
        <circle cx="8" cy="8" r="5.7" {...stroke} opacity="0.35" />
        <path className="turning" d="M8 2.3A5.7 5.7 0 0 1 13.7 8" {...stroke} strokeWidth="2.2" />
      </>
    ),
  },
  Degraded: {
    tone: "bad",
    shape: (
      <>
        <path d="M5.2 1.5h5.6l3.7 3.7v5.6l-3.7 3.7H5.2l-3.7-3.7V5.2z" fill="currentColor" />
        <path d="M6 6l4 4M10 6l-4 4" {...stroke} stroke="var(--mark-ink)" />
      </>
    ),
  },
  Suspended: { tone: "idle", shape: <path d="M5.5 3.5v9M10.5 3.5v9" {...stroke} strokeWidth="2.6" /> },
  Missing: {
    tone: "warn",
    shape: (
      <>
        <circle cx="8" cy="8" r="5.8" {...stroke} strokeDasharray="2.6 2.6" />
        <path d="M5.8 8h4.4" {...stroke} />
      </>
    ),
  },
  Unknown: {
    tone: "idle",
    shape: (
      <>
        <path d="M8 1.8 14.2 8 8 14.2 1.8 8z" {...stroke} />
        <path d="M8 5.5v3M8 10.6h.01" {...stroke} />
      </>
    ),
  },
};

export const syncMarks: Record<SyncState, Mark> = {
  Synced: { tone: "good", shape: <path d="M2.5 8.5 6.3 12.3 13.5 4.3" {...stroke} strokeWidth="2" /> },
  OutOfSync: { tone: "warn", shape: <path d="M2.5 5.5h9.5M9.3 2.8 12 5.5M13.5 10.5H4M6.7 13.2 4 10.5" {...stroke} strokeWidth="1.9" /> },
  Unknown: { tone: "idle", shape: <path d="M3 8h.01M8 8h.01M13 8h.01" {...stroke} strokeWidth="2.6" /> },
};

export function healthMark(state: string | undefined): Mark & { word: HealthState } {
  const word = state && state in healthMarks ? (state as HealthState) : "Unknown";
  return { word, ...healthMarks[word] };
}

export function syncMark(state: string | undefined): Mark & { word: SyncState } {
  const word = state && state in syncMarks ? (state as SyncState) : "Unknown";
  return { word, ...syncMarks[word] };
}
