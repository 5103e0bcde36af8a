// What went wrong with a call, in words for people.
import { Code, ConnectError } from "@connectrpc/connect";

export interface Trouble {
  kind: "signedOut" | "forbidden" | "missing" | "invalid" | "offline" | "busy" | "broken";
  title: string;
  detail: string; // what the server said; "" where it said nothing of use
}

const kinds: Partial<Record<Code, [Trouble["kind"], string]>> = {
  [Code.Unauthenticated]: ["signedOut", "You are signed out"],
  [Code.PermissionDenied]: ["forbidden", "You may not see or do this"],
  [Code.NotFound]: ["missing", "There is no such thing here"],
  [Code.InvalidArgument]: ["invalid", "The server did not understand this"],
  [Code.FailedPrecondition]: ["invalid", "This cannot be done as things stand"],
  [Code.Aborted]: ["invalid", "Something else changed it meanwhile"],
  [Code.AlreadyExists]: ["invalid", "It exists already"],
  [Code.ResourceExhausted]: ["busy", "The server asks for patience"],
  [Code.DeadlineExceeded]: ["busy", "This took the server too long"],
  [Code.Unavailable]: ["offline", "Plumb cannot be reached"],
};

// troubleOf says nothing of calls that were given up on purpose.
export function troubleOf(error: unknown): Trouble | undefined {
  if (error instanceof DOMException && error.name === "AbortError") return undefined;
  const { code, rawMessage } = ConnectError.from(error);
  if (code === Code.Canceled) return undefined;
  // fetch() tells of a server that is not there by a TypeError of no other meaning.
  if (error instanceof ConnectError && error.cause instanceof TypeError && code === Code.Unknown)
    return { kind: "offline", title: "Plumb cannot be reached", detail: "" };
  // A refusal without words comes from before the API: it takes calls from pages of its own address only.
  if (code === Code.PermissionDenied && /^HTTP \d+/.test(rawMessage))
    return { kind: "broken", title: "The server takes this page for another site’s", detail: "It is reached by another address than it knows, as through a proxy: name this one as url in argocd-cm." };
  // With words of its own it is the server that answers, and something behind it that does not.
  if (code === Code.Unavailable && rawMessage && !/^HTTP \d+/.test(rawMessage)) return { kind: "busy", title: "It cannot be had now", detail: rawMessage };
  const [kind, title] = kinds[code] ?? ["broken", "Something broke"];
  return { kind, title, detail: kind === "offline" ? "" : rawMessage.replace(/^permission denied: /, "") };
}
