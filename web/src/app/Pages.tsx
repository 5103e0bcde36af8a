import { Component, Suspense, useEffect, useRef, type ReactNode } from "react";
import { Route, Switch, useLocation } from "wouter";
import { pages } from "~/pages/registry";
import { Button } from "~/parts/button/Button";
import { Empty } from "~/parts/states/States";
import { PageBones } from "./App";

// Pages shows the page of the address.
export function Pages() {
  const [path] = useLocation();
  return (
    <Boundary key={path.split("/").slice(0, 2).join("/")}>
      <FocusOnArrival path={path} />
      <Suspense fallback={<PageBones />}>
        <Switch>
          {pages.flatMap(({ routes, page: PageOf }) => routes.map((route) => <Route key={route} path={route}><PageOf /></Route>))}
          <Route>
            <Empty title="There is no such page"><p>The address may be mistyped, or what it was about is gone.</p></Empty>
          </Route>
        </Switch>
      </Suspense>
    </Boundary>
  );
}

// Screen readers begin to read a new page at its content, and not where the link was.
function FocusOnArrival({ path }: { path: string }) {
  const before = useRef(path);
  useEffect(() => {
    if (before.current === path) return;
    before.current = path;
    const active = document.activeElement;
    if (!active || active === document.body || !document.contains(active)) document.getElementById("content")?.focus({ preventScroll: true });
  }, [path]);
  return null;
}

class Boundary extends Component<{ children: ReactNode }, { error?: Error }> {
  state: { error?: Error } = {};
  static getDerivedStateFromError(error: Error) {
    return { error };
  }
  render() {
    if (!this.state.error) return this.props.children;
    // Usually the server was updated, and files of the version before are gone.
    return (
      <Empty icon="warning" title="This page could not be shown" action={<Button icon="refresh" onPress={() => window.location.reload()}>Load again</Button>}>
        <p>{this.state.error.message}</p>
      </Empty>
    );
  }
}
