import { Component, Suspense, useEffect, useRef, type ReactNode } from "react";
import { Route, Switch, useLocation } from "wouter";
import { pages } from "~/pages/registry";
import { Button } from "~/parts/button/Button";
import { Empty } from "~/parts/states/States";
import { NoSuchPage } from "./NoSuchPage";
import { PageBones } from "./PageBones";

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
            <NoSuchPage />
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

const notFetched = /preload|dynamically imported|importing a module/i;

class Boundary extends Component<{ children: ReactNode }, { error?: Error }> {
  state: { error?: Error } = {};
  static getDerivedStateFromError(error: Error) {
    return { error };
  }
  override componentDidUpdate() {
    if (this.state.error) window.addEventListener("online", again, { once: true });
  }
  render() {
    const { error } = this.state;
    if (!error) return this.props.children;
    const away = notFetched.test(error.message);
    return (
      <Empty icon={away ? "link" : "warning"} title={away ? "This page could not be fetched" : "This page could not be shown"} action={<Button icon="refresh" onPress={again}>Load again</Button>}>
        <p>{away ? "Plumb cannot be reached, or it was upgraded while you looked." : error.message}</p>
      </Empty>
    );
  }
}

function again() {
  window.location.reload();
}
