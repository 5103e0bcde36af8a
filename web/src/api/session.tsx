// Who is signed in. Any call that the server refuses as unauthenticated ends
// the session here, and the application shows the sign-in page.
import { createContext, useCallback, useContext, useEffect, useMemo, useState, type ReactNode } from "react";
import type { GetMeResponse } from "~/gen/plumb/v1/session_pb";
import { useApi, type Api } from "./api";
import { troubleOf, type Trouble } from "./trouble";
import { useAgain } from "./useAgain";

export interface Session {
  state: "loading" | "in" | "out" | "trouble";
  me?: GetMeResponse;
  trouble?: Trouble;
  ended?: boolean; // it is out, and was in before without having signed out
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

// whenSessionEnds is for what is remembered: the next one who signs in must not see it.
export function whenSessionEnds(forget: () => void) {
  lost.addEventListener("lost", forget);
}

let begun: ReturnType<Api["session"]["getMe"]> | undefined;

// beginSession asks who is there before there is anything to be shown.
export function beginSession(api: Api) {
  begun = api.session.getMe({});
  begun.catch(() => undefined); // told by whoever takes it over
}

export function SessionProvider({ children }: { children: ReactNode }) {
  const api = useApi();
  const [known, setKnown] = useState<Pick<Session, "state" | "me" | "trouble" | "ended">>({ state: "loading" });

  const look = useCallback(async () => {
    const answer = begun ?? api.session.getMe({});
    begun = undefined;
    try {
      setKnown({ state: "in", me: await answer });
    } catch (error) {
      const trouble = troubleOf(error);
      setKnown(trouble?.kind === "signedOut" ? { state: "out" } : { state: "trouble", trouble });
    }
  }, [api]);

  useEffect(() => {
    void look();
    const out = () => setKnown((before) => ({ state: "out", ended: before.ended || before.state === "in" }));
    lost.addEventListener("lost", out);
    return () => lost.removeEventListener("lost", out);
  }, [look]);

  useAgain(known.trouble, look);

  const signOut = useCallback(async () => {
    const { url } = await api.session.signOut({});
    sessionLost();
    setKnown({ state: "out" });
    if (url) window.location.assign(url);
  }, [api]);

  const session = useMemo(() => ({ ...known, look, signOut }), [known, look, signOut]);
  return <Context.Provider value={session}>{children}</Context.Provider>;
}

export function useSession(): Session {
  const session = useContext(Context);
  if (!session) throw new Error("useSession outside of SessionProvider");
  return session;
}
