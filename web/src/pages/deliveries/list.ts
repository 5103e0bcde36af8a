// The rows of the page: as many pages of the server's list as were looked at,
// kept current by its stream. Nothing here moves a row: what changes is changed
// in place, and what would move things waits until somebody asks for it.
import { create } from "@bufbuild/protobuf";
import { FieldMaskSchema, type FieldMask } from "@bufbuild/protobuf/wkt";
import type { Api } from "~/api/api";
import { queryForServer, type ListQuery } from "~/api/query";
import { keyOf } from "~/api/refs";
import { sessionLost } from "~/api/session";
import { troubleOf, type Trouble } from "~/api/trouble";
import type { Facet, ObjectRef } from "~/gen/plumb/v1/common_pb";
import type { Delivery, WatchDeliveriesResponse } from "~/gen/plumb/v1/deliveries_pb";

const pageSize = 60;

// What every row shows; columns add to it. What rows do not show is not sent.
const rowFields = ["ref", "cluster", "health", "sync", "running", "phase", "reason", "message", "hold", "commit", "short_revision", "automation", "out_of_sync", "changed"];

export interface Segment {
  value: string; // of the field that is grouped by
  total: number;
  open: boolean;
  rows: (Delivery | undefined)[];
}

export interface ListState {
  ready: boolean; // there is an answer
  trouble?: Trouble;
  total: number;
  facets: readonly Facet[];
  segments: readonly Segment[];
  moved: number; // changes that wait: rows that came, went, or belong elsewhere
  revision: string; // where the stream begins
}

export class DeliveryList {
  state: ListState = { ready: false, total: 0, facets: [], segments: [], moved: 0, revision: "" };
  readonly readMask: FieldMask;
  private listeners = new Set<() => void>();
  private places = new Map<string, { segment: Segment; index: number }>();
  private gone = new Set<string>();
  private asked = new Set<string>();
  private stop = new AbortController();
  private generation = 0;
  private underway = false;
  // The revision up to which the stream has told; state.revision is that of the list.
  private reached = "";

  constructor(
    private api: Api,
    readonly query: ListQuery,
    readonly group: string,
    fields: readonly string[],
  ) {
    this.readMask = create(FieldMaskSchema, { paths: [...rowFields, ...fields] });
  }

  subscribe = (listener: () => void) => {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  };
  get = () => this.state;

  // since is where a stream that begins anew goes on.
  since() {
    return this.reached || this.state.revision;
  }

  // begin loads the list, unless that has begun.
  begin = () => {
    if (!this.underway) void this.load();
  };

  // load asks for the list again; what is shown stays until the answer is there.
  load = async () => {
    this.stop.abort();
    this.stop = new AbortController();
    const generation = ++this.generation;
    this.underway = true;
    const answer = await this.ask(this.query, 0, this.group ? 1 : pageSize, true);
    if (generation !== this.generation) return;
    this.underway = false;
    if (!answer) return;
    // Rows further down stay until they are asked for again, which is when they are seen.
    const below = this.state.segments[0]?.rows.slice(answer.deliveries.length, answer.totalSize) ?? [];
    const segments: Segment[] = this.group ? this.groups(answer.facets) : [{ value: "", total: answer.totalSize, open: true, rows: [...answer.deliveries, ...below] }];
    this.places.clear();
    this.gone.clear();
    this.asked.clear();
    if (!this.group) {
      this.asked.add(pageId(segments[0]!, 0));
      this.place(segments[0]!, 0, answer.deliveries);
    }
    this.reached = "";
    this.tell({ ready: true, trouble: undefined, total: answer.totalSize, facets: answer.facets, segments, moved: 0, revision: answer.revision });
  };

  private groups(facets: readonly Facet[]): Segment[] {
    const chosen = this.query.where[this.group];
    const values = (facets.find((f) => f.field === this.group)?.values ?? []).filter((v) => v.count > 0 && (!chosen || chosen.includes(v.value)));
    const before = new Map(this.state.segments.map((s) => [s.value, s]));
    const order = severityOrder[this.group];
    if (order) values.sort((a, b) => order.indexOf(a.value) - order.indexOf(b.value));
    return values.map((v, i) => ({ value: v.value, total: v.count, open: before.get(v.value)?.open ?? i < 3, rows: before.get(v.value)?.rows.slice(0, v.count) ?? [] }));
  }

  // see is told which rows of a segment are about to be seen.
  see(segment: Segment, first: number, last: number) {
    for (let page = Math.floor(first / pageSize); page <= Math.floor(last / pageSize); page++) void this.fetch(segment, page);
  }

  private async fetch(segment: Segment, page: number) {
    const id = pageId(segment, page);
    if (this.asked.has(id) || page * pageSize >= segment.total) return;
    this.asked.add(id);
    const generation = this.generation;
    const query = this.group ? { ...this.query, where: { ...this.query.where, [this.group]: [segment.value] } } : this.query;
    const answer = await this.ask(query, page * pageSize, pageSize, false);
    if (generation !== this.generation) return;
    if (!answer) {
      this.asked.delete(id);
      return;
    }
    this.place(segment, page * pageSize, answer.deliveries);
    if (segment.total !== answer.totalSize) segment.total = answer.totalSize;
    this.tell({ trouble: undefined, segments: [...this.state.segments] });
  }

  private async ask(query: ListQuery, skip: number, size: number, facets: boolean) {
    try {
      return await this.api.deliveries.listDeliveries({ query: queryForServer(query, { skip, size }), readMask: this.readMask, facets }, { signal: this.stop.signal });
    } catch (error) {
      const trouble = troubleOf(error);
      if (trouble?.kind === "signedOut") sessionLost();
      if (trouble) this.tell({ trouble });
      return undefined;
    }
  }

  private place(segment: Segment, start: number, rows: readonly Delivery[]) {
    rows.forEach((row, i) => {
      segment.rows[start + i] = row;
      this.places.set(keyOf(row.ref), { segment, index: start + i });
    });
  }

  toggle(segment: Segment) {
    segment.open = !segment.open;
    this.tell({ segments: [...this.state.segments] });
  }

  isGone(row: Delivery) {
    return this.gone.has(keyOf(row.ref));
  }

  // apply takes what the stream tells.
  apply(message: WatchDeliveriesResponse) {
    let moved = this.state.moved;
    for (const row of message.changed) {
      const place = this.places.get(keyOf(row.ref));
      if (place) {
        place.segment.rows[place.index] = row;
        this.gone.delete(keyOf(row.ref));
      }
    }
    for (const ref of message.removed) {
      const key = keyOf(ref);
      const place = this.places.get(key);
      if (!place || this.gone.has(key)) continue;
      this.gone.add(key);
      moved++;
      // A row of another identity shows itself as gone.
      const row = place.segment.rows[place.index];
      if (row) place.segment.rows[place.index] = { ...row };
    }
    moved = Math.max(moved, Math.abs(message.totalSize - this.state.total) > 0 ? 1 : 0);
    this.reached = message.revision;
    this.tell({ facets: message.facets.length > 0 ? message.facets : this.state.facets, segments: [...this.state.segments], moved });
  }

  private tell(change: Partial<ListState>) {
    this.state = { ...this.state, ...change };
    this.listeners.forEach((listener) => listener());
  }

  // every is the references of all rows, seen or not, up to a bound.
  async every(bound = 1_000): Promise<ObjectRef[]> {
    const { deliveries } = await this.api.deliveries.listDeliveries({ query: queryForServer(this.query, { size: bound }), readMask: create(FieldMaskSchema, { paths: ["ref"] }) });
    return deliveries.map((d) => d.ref!);
  }
}

function pageId(segment: Segment, page: number) {
  return `${page} ${segment.value}`;
}

// Groups of states are in the order of how much they need somebody.
const severityOrder: Record<string, string[]> = {
  health: ["Degraded", "Missing", "Unknown", "Progressing", "Suspended", "Healthy"],
  sync: ["OutOfSync", "Unknown", "Synced"],
};
