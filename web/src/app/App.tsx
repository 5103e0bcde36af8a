import { useEffect } from "react";
import { Redirect, useLocation, useSearch } from "wouter";
import { ApiProvider, type Api } from "~/api/api";
import { SessionProvider, useSession } from "~/api/session";
import { LiveRegion } from "~/parts/announce/announce";
import { TroubleState } from "~/parts/states/States";
import { Toasts } from "~/parts/toast/toast";
import { listenForKeys } from "./keys";
import { Pages } from "./Pages";
import { Shell } from "./Shell";
import styles from "./Shell.module.css";

export function App({ api }: { api: Api }) {
  useEffect(listenForKeys, []);
  return (
    <ApiProvider api={api}>
      <SessionProvider>
        <Gate />
      </SessionProvider>
      <Toasts />
      <LiveRegion />
    </ApiProvider>
  );
}

// Gate shows the sign-in page to whoever is not known, and afterwards what was asked for.
function Gate() {
  const session = useSession();
  const [path] = useLocation();
  const search = useSearch();
  if (path === "/signin") return <Pages />;
  if (session.state === "out") return <Redirect to={`/signin?back=${encodeURIComponent(path + (search && `?${search}`))}`} replace />;
  if (session.state === "trouble") return <main className={styles.alone}><TroubleState trouble={session.trouble!} retry={() => void session.look()} /></main>;
  if (path === "/") return <Redirect to="/deliveries" replace />;
  // Pages begin to load while it is asked who is there: the server refuses whom it does not know.
  return (
    <Shell>
      <Pages />
    </Shell>
  );
}
