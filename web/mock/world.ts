// A world of generated deliveries that changes while one looks.
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { keyOf } from "../src/api/refs";
import type { ObjectRef } from "../src/gen/plumb/v1/common_pb";
import { ActivitySchema, type Activity, type Source } from "../src/gen/plumb/v1/fleet_pb";
import type { Delivery } from "../src/gen/plumb/v1/deliveries_pb";
import { fail, generateDeliveries, progress, settle } from "./deliveries";
import { generateActivities } from "./fleet";
import { Random } from "./random";
import { generateSources } from "./sources";

export class World {
  deliveries: Delivery[];
  sources: Source[];
  activities: Activity[];
  private byKey = new Map<string, Delivery>();
  private listeners = new Set<() => void>();
  // What changed, by revision: those who listen catch up from where they stand.
  private log: { key: string; delivery?: Delivery }[] = [];
  private random = new Random("live");

  constructor(count: number, now = Date.now()) {
    this.deliveries = generateDeliveries(count, now);
    for (const d of this.deliveries) this.byKey.set(keyOf(d.ref), d);
    this.sources = generateSources(this.deliveries, now);
    this.activities = generateActivities(this.deliveries, now);
  }

  get revision(): number {
    return this.log.length;
  }

  delivery(ref: ObjectRef | undefined): Delivery | undefined {
    return this.byKey.get(keyOf(ref));
  }

  changedSince(revision: number): { changed: Delivery[]; removed: string[] } {
    const latest = new Map(this.log.slice(revision).map((entry) => [entry.key, entry.delivery]));
    return { changed: [...latest.values()].filter((d) => d !== undefined), removed: [...latest].filter(([, d]) => !d).map(([key]) => key) };
  }

  change(delivery: Delivery, edit: (delivery: Delivery) => void) {
    edit(delivery);
    delivery.changed = timestampFromMs(Date.now());
    this.log.push({ key: keyOf(delivery.ref), delivery });
    this.tell();
  }

  remove(delivery: Delivery) {
    this.deliveries = this.deliveries.filter((d) => d !== delivery);
    this.byKey.delete(keyOf(delivery.ref));
    this.log.push({ key: keyOf(delivery.ref) });
    this.tell();
  }

  // changes resolves when something changed, or listening ended.
  changes(signal: AbortSignal): Promise<void> {
    return new Promise((done) => {
      const end = () => {
        this.listeners.delete(end);
        signal.removeEventListener("abort", end);
        done();
      };
      this.listeners.add(end);
      signal.addEventListener("abort", end);
    });
  }

  record(actor: string, action: string, delivery: Delivery, message: string) {
    this.activities.unshift(create(ActivitySchema, { id: String(this.activities.length + 1), time: timestampFromMs(Date.now()), actor, action, object: delivery.ref, revision: delivery.revision, result: "Succeeded", message, address: "192.0.2.17" }));
    this.tell();
  }

  changeSource(source: Source, edit: Partial<Source>) {
    Object.assign(source, edit);
    this.tell();
  }

  // live makes something happen every so often.
  live(milliseconds = 1_500) {
    const timer = setInterval(() => {
      const d = this.random.pick(this.deliveries);
      if (d.suspended || d.hold || d.deleting) return;
      this.change(d, (d) => (d.health?.state === "Healthy" ? progress(d, this.random) : settle(d)));
      if (d.running) setTimeout(() => this.change(d, (d) => (this.random.chance(0.1) ? fail(d, this.random) : settle(d))), 4_000).unref?.();
    }, milliseconds);
    timer.unref?.();
  }

  private tell() {
    [...this.listeners].forEach((listener) => listener());
  }
}
