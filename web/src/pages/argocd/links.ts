// Addresses of Argo CD's own console, as the argocd command line, notifications,
// chat messages and bookmarks have them, and where they lead here
// (argo-cd, ui/src/app/app.tsx and ui/src/app/applications).
import { deliveryPath, keyOf, refOf, type DeliveryTab } from "~/api/refs";
import type { ObjectRef } from "~/gen/plumb/v1/common_pb";

const group = "argoproj.io";

// Lead is where an address leads: a page, or one Application of which only the name is known.
export type Lead = { to: string } | { kind: "Application" | "ApplicationSet"; name: string; of: (found: ObjectRef) => string };

export function leadOf(path: string, params: URLSearchParams): Lead | undefined {
  const [page, first, second, ...more] = path.split("/").filter(Boolean).map(decodeURIComponent);
  if (more.length > 0) return undefined;
  if (page === "applications" || page === "applicationsets") {
    const kind = page === "applications" ? "Application" : "ApplicationSet";
    if (!first) return { to: listPath(params) };
    const of = (found: ObjectRef) => applicationPath(found, params);
    return second ? { to: of(refOf({ group, kind, namespace: first, name: second })) } : { kind, name: first, of };
  }
  if (page === "settings") return settingsLead(first, second);
  if (page === "login") return { to: withQuery("/signin", { back: params.get("return_url") ?? "" }) };
  if (page === "resources") return { to: "/deliveries?dialect=argo" };
  return page === "user-info" || page === "help" ? { to: "/settings" } : undefined;
}

function settingsLead(page: string | undefined, name: string | undefined): Lead | undefined {
  switch (page) {
    case "repos":
      return { to: "/sources?dialect=argo" };
    case "clusters":
      return { to: withQuery("/clusters", { q: name ?? "" }) };
    case "projects":
      return { to: withQuery("/projects", { name: name ?? "" }) };
    case "accounts":
    case "certs":
    case "gpgkeys":
    case "appearance":
    case "advanced":
      return { to: "/settings" };
    default:
      return undefined;
  }
}

// listPath keeps what narrowed the list of Applications.
function listPath(params: URLSearchParams): string {
  const query = new URLSearchParams({ dialect: "argo" });
  for (const [theirs, ours] of [["proj", "project"], ["sync", "sync"], ["health", "health"], ["namespace", "namespace"], ["cluster", "cluster"]] as const)
    for (const value of listed(params, theirs)) query.append(ours, value);
  const labels = listed(params, "labels");
  if (labels.length > 0) query.set("labels", labels.join(","));
  if (params.get("search")) query.set("q", params.get("search")!);
  if (params.get("view") === "tiles") query.set("view", "tiles");
  return `/deliveries?${query}`;
}

// applicationPath is the page of an Application: a chosen node opens beside its
// graph, what narrows the resources narrows them here.
function applicationPath(application: ObjectRef, params: URLSearchParams): string {
  const node = nodeOf(params.get("node"));
  const own = node && keyOf(node) === keyOf(application);
  const query = new URLSearchParams();
  if (node && !own) {
    query.set("object", keyOf(node));
    const pane = { manifest: "live", diff: "diff", events: "events", logs: "logs" }[params.get("tab") ?? ""];
    if (pane) query.set("pane", pane);
  }
  for (const part of listed(params, "resource")) {
    const [, field = "", value = ""] = /^(\w+):(.+)$/.exec(part) ?? [];
    if (field === "name") query.set("q", value);
    if (field === "kind" || field === "health" || field === "sync") query.append(field, value);
  }
  const tab = own ? ownTab(params.get("tab")) : node ? "graph" : tabOf(params);
  if (tab === "graph" && params.get("view") === "list") query.set("view", "list");
  const search = query.toString();
  return deliveryPath(application, tab) + (search && `?${search}`);
}

function tabOf(params: URLSearchParams): DeliveryTab {
  if (params.has("rollback")) return "history";
  return ["tree", "network", "pods", "list"].includes(params.get("view") ?? "") ? "graph" : "overview";
}

// ownTab is for the Application's own node, whose window in Argo CD has these tabs.
function ownTab(tab: string | null): DeliveryTab {
  const tabs: Record<string, DeliveryTab> = { manifest: "manifest", diff: "diff", events: "events", logs: "logs" };
  return tabs[tab ?? ""] ?? "overview";
}

// nodeOf reads "group/kind/namespace/name/container".
function nodeOf(node: string | null): ObjectRef | undefined {
  const [group = "", kind, namespace = "", name] = (node ?? "").split("/");
  return kind && name ? refOf({ group, kind, namespace, name }) : undefined;
}

function listed(params: URLSearchParams, name: string): string[] {
  return (params.get(name) ?? "").split(",").map(decoded).filter(Boolean);
}

// Argo CD encodes the parts of a list once more.
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function withQuery(path: string, query: Record<string, string>): string {
  const search = new URLSearchParams(Object.entries(query).filter(([, value]) => value)).toString();
  return search ? `${path}?${search}` : path;
}
