// Who is signed in. Any call that the server refuses as unauthenticated ends
// the session here, and the application shows the sign-in page.
import { createContext, useCallback, useContext, useEffect, useMemo, useState, type ReactNode } from "react";
import type { GetMeResponse } from "~/gen/plumb/v1/session_pb";
import { useApi } from "./api";
import { troubleOf, type Trouble } from "./trouble";

export interface Session {
  state: "loading" | "in" | "out" | "trouble";
  me?: GetMeResponse;
  trouble?: Trouble;
  // look asks the server again who is calling.
  look(): Promise<void>;
  signOut(): Promise<void>;
}

const Context = createContext<Session | null>(null);
const lost = new EventTarget();

// sessionLost is called where the server no longer knows the caller.
export function sessionLost() {
  lost.dispatchEvent(new Event("lost"));
}

export function SessionProvider({ children }: { children: ReactNode }) {
  const api = useApi();
  const [known, setKnown] = useState<Pick<Session, "state" | "me" | "trouble">>({ state: "loading" });

  const look = useCallback(async () => {
    try {
      setKnown({ state: "in", me: await api.session.getMe({}) });
    } catch (error) {
      const trouble = troubleOf(error);
      setKnown(trouble?.kind === "signedOut" ? { state: "out" } : { state: "trouble", trouble });
    }
  }, [api]);

  useEffect(() => {
    void look();
    const out = () => setKnown({ state: "out" });
    lost.addEventListener("lost", out);
    return () => lost.removeEventListener("lost", out);
  }, [look]);

  const signOut = useCallback(async () => {
    const { url } = await api.session.signOut({});
    if (url) window.location.assign(url);
    else setKnown({ state: "out" });
  }, [api]);

  const session = useMemo(() => ({ ...known, look, signOut }), [known, look, signOut]);
  return <Context.Provider value={session}>{children}</Context.Provider>;
}

export function useSession(): Session {
  const session = useContext(Context);
  if (!session) throw new Error("useSession outside of SessionProvider");
  return session;
}
