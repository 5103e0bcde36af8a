// Chance that is the same in every run, so that tests and screenshots are, too.

export class Random {
  private state: number;

  constructor(seed: string) {
    let hash = 2166136261;
    for (let i = 0; i < seed.length; i++) hash = Math.imul(hash ^ seed.charCodeAt(i), 16777619);
    this.state = hash >>> 0;
  }

  next(): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let t = this.state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }

  upTo(bound: number): number {
    return Math.floor(this.next() * bound);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(from: readonly T[]): T {
    return from[this.upTo(from.length)]!;
  }

  // weighted picks by shares, such as [["Healthy", 90], ["Degraded", 10]].
  weighted<T>(shares: readonly (readonly [T, number])[]): T {
    let at = this.next() * shares.reduce((sum, [, share]) => sum + share, 0);
    for (const [value, share] of shares) if ((at -= share) < 0) return value;
    return shares.at(-1)![0];
  }

  hex(length: number): string {
    return Array.from({ length }, () => this.upTo(16).toString(16)).join("");
  }
}
