// Shows a part of the console above a mock server in memory.
import { createRouterTransport } from "@connectrpc/connect";
import { render } from "@testing-library/react";
import type { ReactNode } from "react";
import { Router } from "wouter";
import { memoryLocation } from "wouter/memory-location";
import { routes } from "../mock/services";
import { World } from "../mock/world";
import { App } from "../src/app/App";
import { ApiProvider, createApi } from "../src/api/api";

export function mockApi(world = new World(200, Date.UTC(2026, 0, 1)), signedIn = true) {
  return createApi(createRouterTransport(routes(world, { signedIn })));
}

// showApp shows the whole console at an address.
export function showApp(path: string, { world = new World(200), signedIn = true }: { world?: World; signedIn?: boolean } = {}) {
  const location = memoryLocation({ path, record: true });
  const result = render(
    <Router hook={location.hook} searchHook={location.searchHook}>
      <App api={mockApi(world, signedIn)} />
    </Router>,
  );
  return { ...result, world, history: location.history };
}

// showPart shows one component.
export function showPart(part: ReactNode, world?: World) {
  const location = memoryLocation({ path: "/", record: true });
  const result = render(
    <Router hook={location.hook} searchHook={location.searchHook}>
      <ApiProvider api={mockApi(world)}>{part}</ApiProvider>
    </Router>,
  );
  return { ...result, history: location.history };
}
