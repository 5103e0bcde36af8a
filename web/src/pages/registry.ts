// Every page: its addresses, and where its code is. Code comes when a page is
// first shown, but for deliveries, where most people begin; what the rail lists has an icon, and is hidden from people to whom
// the server does not open it (GetMe.pages).
import { lazy, type ComponentType } from "react";
import type { IconName } from "~/parts/icon/Icon";
import Deliveries from "./deliveries/Deliveries";

export interface PageEntry {
  id: string;
  routes: readonly string[];
  page: ComponentType;
  load: () => Promise<unknown>; // fetches the code ahead of time
  rail?: { label: string; icon: IconName; href: string; open?: string; key: string };
}

function entry(id: string, routes: string[], load: () => Promise<{ default: ComponentType }>, rail?: PageEntry["rail"]): PageEntry {
  return { id, routes, load, page: lazy(load), rail };
}

export const pages: readonly PageEntry[] = [
  { id: "deliveries", routes: ["/deliveries"], page: Deliveries, load: async () => {}, rail: { label: "Deliveries", icon: "deliveries", href: "/deliveries", open: "deliveries", key: "d" } },
  entry("delivery", ["/deliveries/:kind/:namespace/:name/:tab?"], () => import("./delivery/Delivery")),
  entry("applicationsets", ["/applicationsets"], () => import("./applicationsets/ApplicationSets"), { label: "ApplicationSets", icon: "sets", href: "/applicationsets", open: "deliveries", key: "a" }),
  entry("sources", ["/sources"], () => import("./sources/Sources"), { label: "Sources", icon: "sources", href: "/sources", open: "sources", key: "s" }),
  entry("source", ["/sources/:group/:kind/:namespace/:name/:tab?"], () => import("./sources/Source")),
  entry("clusters", ["/clusters"], () => import("./clusters/Clusters"), { label: "Clusters", icon: "clusters", href: "/clusters", open: "clusters", key: "c" }),
  entry("projects", ["/projects"], () => import("./projects/Projects"), { label: "Projects", icon: "projects", href: "/projects", open: "projects", key: "p" }),
  entry("activity", ["/activity"], () => import("./activity/Activity"), { label: "Activity", icon: "activity", href: "/activity", open: "activity", key: "t" }),
  entry("settings", ["/settings"], () => import("./settings/Settings"), { label: "Settings", icon: "settings", href: "/settings", open: "settings", key: "e" }),
  entry("argocd", ["/applications", "/applications/*", "/applicationsets/*", "/settings/*", "/resources", "/user-info", "/help", "/login"], () => import("./argocd/ArgoLink")),
  entry("signin", ["/signin"], () => import("./signin/SignIn")),
];
