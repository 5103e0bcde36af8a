import { useEffect, useMemo } from "react";
import { I18nProvider, RouterProvider } from "react-aria-components";
import { Redirect, useLocation, useSearch } from "wouter";
import { ApiProvider, browserTransport, createApi, type Api } from "~/api/api";
import { SessionProvider, useSession } from "~/api/session";
import { LiveRegion } from "~/parts/announce/announce";
import { Bone, TroubleState } from "~/parts/states/States";
import { Toasts } from "~/parts/toast/toast";
import { listenForKeys } from "./keys";
import { Pages } from "./Pages";
import { Shell } from "./Shell";
import styles from "./Shell.module.css";

export function App({ api }: { api?: Api }) {
  const [, navigate] = useLocation();
  const clients = useMemo(() => api ?? createApi(browserTransport()), [api]);
  useEffect(listenForKeys, []);
  return (
    <ApiProvider api={clients}>
      <I18nProvider locale="en-US">
        <RouterProvider navigate={navigate}>
          <SessionProvider>
            <Gate />
          </SessionProvider>
          <Toasts />
          <LiveRegion />
        </RouterProvider>
      </I18nProvider>
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

export function PageBones() {
  return (
    <div className={styles.bones} role="status" aria-label="Loading">
      <Bone width={180} height={20} />
      <Bone height={56} />
      <Bone height={320} />
    </div>
  );
}
