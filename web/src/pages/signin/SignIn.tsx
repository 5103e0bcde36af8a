import { useEffect, useState, type FormEvent } from "react";
import { useLocation, useSearchParams } from "wouter";
import { useApi } from "~/api/api";
import { useSession } from "~/api/session";
import { troubleOf } from "~/api/trouble";
import { useCall } from "~/api/useCall";
import { Mark, ThemeSwitch } from "~/app/Shell";
import { Button, ButtonLink } from "~/parts/button/Button";
import { CopyButton } from "~/parts/copy/CopyButton";
import { TextField } from "~/parts/field/Field";
import { Icon } from "~/parts/icon/Icon";
import { Skeleton, TroubleState } from "~/parts/states/States";
import styles from "./SignIn.module.css";

export default function SignIn() {
  const ways = useCall("signin", (api, signal) => api.session.getSignIn({}, { signal }));
  const [params] = useSearchParams();
  const back = safeReturn(params.get("back"));
  const data = ways.data;
  const { ended } = useSession();
  useEffect(() => {
    document.title = "Sign in · Plumb";
  }, []);
  return (
    <main id="content" className={styles.page} tabIndex={-1}>
      <div className={styles.corner}><ThemeSwitch /></div>
      <div className={styles.line} aria-hidden="true" />
      <div className={styles.card}>
        <header className={styles.head}>
          <Mark size={40} />
          <h1>Sign in to Plumb</h1>
        </header>
        {params.get("error") && <p className={styles.error} role="alert"><Icon name="error" />{params.get("error")}</p>}
        {ended && <p className={styles.ended} role="status"><Icon name="clock" />Your session has ended. Sign in to go on where you were.</p>}
        {!data && ways.trouble && <TroubleState trouble={ways.trouble} retry={() => void ways.refresh()} />}
        {!data && !ways.trouble && <div className={styles.waiting}><Skeleton lines={5} /></div>}
        {data?.oidcName && <ButtonLink look="primary" icon="person" href={`${data.oidcUrl}?return=${encodeURIComponent(back)}`}>Continue with {data.oidcName}</ButtonLink>}
        {data?.oidcName && data.local && <p className={styles.or}><span>or with a local account</span></p>}
        {data?.local && <LocalForm back={back} primary={!data.oidcName} />}
        {data?.local && data.hint && <FirstPassword hint={data.hint} />}
        {data?.anonymous && <ButtonLink look="ghost" href={back}>Look around without signing in</ButtonLink>}
      </div>
      <footer className={styles.foot}>{data?.version ? `Plumb ${data.version}` : " "}</footer>
    </main>
  );
}

function LocalForm({ back, primary }: { back: string; primary: boolean }) {
  const api = useApi();
  const session = useSession();
  const [, navigate] = useLocation();
  const [username, setUsername] = useState("admin");
  const [password, setPassword] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState("");

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    if (!username || !password) return setError(username ? "Enter the password." : "Enter a name and a password.");
    setBusy(true);
    setError("");
    try {
      await api.session.signIn({ username, password });
      await session.look();
      navigate(back, { replace: true });
    } catch (thrown) {
      const trouble = troubleOf(thrown);
      setError(trouble?.detail || trouble?.title || "");
      setPassword("");
    } finally {
      setBusy(false);
    }
  };
  return (
    <form className={styles.form} onSubmit={(event) => void submit(event)}>
      <TextField label="Name" name="username" value={username} onChange={setUsername} autoComplete="username" required />
      <TextField label="Password" name="password" type="password" value={password} onChange={setPassword} autoComplete="current-password" error={error} autoFocus required />
      <Button type="submit" look={primary ? "primary" : "plain"} busy={busy}>Sign in</Button>
    </form>
  );
}

// FirstPassword tells a newcomer where the generated password is; the server
// says so only until somebody has used it.
function FirstPassword({ hint }: { hint: string }) {
  // "The first password of admin: kubectl …": words, and a command to copy.
  const [, words, command] = /^(?:(.*?):\s+)?(kubectl\s.*)$/.exec(hint) ?? [undefined, hint, undefined];
  return (
    <aside className={styles.hint} aria-label="First time here">
      <p><strong>First time here?</strong> {words ?? "The first password of admin"}{command ? ":" : ""}</p>
      {command && (
        <div className={styles.command}>
          <code>{command}</code>
          <CopyButton text={command} what="Copy" />
        </div>
      )}
    </aside>
  );
}

// Only addresses of the console itself are gone back to.
function safeReturn(path: string | null): string {
  return path && /^\/(?![/\\])/.test(path) && !path.startsWith("/signin") ? path : "/deliveries";
}
