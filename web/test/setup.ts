import { cleanup, configure } from "@testing-library/react";
import { afterEach, beforeEach } from "vitest";

// happy-dom lays nothing out: lists get the room of a small window.
for (const [property, size] of [["offsetHeight", 700], ["offsetWidth", 1200], ["clientWidth", 1200], ["clientHeight", 700]] as const)
  Object.defineProperty(HTMLElement.prototype, property, { configurable: true, get: () => size });

// It has no top layer either: what is opened there is shown where it stands.
Object.assign(HTMLElement.prototype, { showPopover() {}, hidePopover() {} });

// A busy machine is slow; a test that waits for what never comes may take its time.
configure({ asyncUtilTimeout: 30_000, getElementError: (message) => new Error(message ?? "not found") });

beforeEach(() => localStorage.clear());
afterEach(cleanup);
