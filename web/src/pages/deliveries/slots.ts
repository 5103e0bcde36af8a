// Where each row of the list stands on the page: groups, and the rows in those
// that are open.
import type { DeliveryList, Segment } from "./list";

export interface Place {
  segment: Segment;
  // Index in the segment; -1 is the heading of the group.
  index: number;
}

export class Slots {
  readonly count: number;
  private starts: number[] = [];

  constructor(
    readonly segments: readonly Segment[],
    readonly grouped: boolean,
  ) {
    let at = 0;
    for (const segment of segments) {
      this.starts.push(at);
      at += (grouped ? 1 : 0) + (segment.open ? segment.total : 0);
    }
    this.count = at;
  }

  at(index: number): Place {
    let low = 0;
    for (let high = this.starts.length - 1; low < high; ) {
      const middle = (low + high + 1) >> 1;
      if (this.starts[middle]! <= index) low = middle;
      else high = middle - 1;
    }
    return { segment: this.segments[low]!, index: index - this.starts[low]! - (this.grouped ? 1 : 0) };
  }

  // see asks for the rows from first to last.
  see(list: DeliveryList, first: number, last: number) {
    if (this.count === 0) return;
    for (let i = Math.max(0, first); i <= Math.min(last, this.count - 1); ) {
      const { segment, index } = this.at(i);
      const until = Math.min(segment.total - 1, index + (last - i));
      if (until >= 0 && segment.open) list.see(segment, Math.max(0, index), until);
      i += Math.max(1, until - index + 1);
    }
  }
}
