// What the address of the page says: the query, and how it is shown.
import { queryFromUrl, queryToUrl, type ListQuery } from "~/api/query";
import { defaultColumns } from "./columns";

// Fields that the list is narrowed by, in the order in which they are shown.
export const fields = ["health", "sync", "dialect", "kind", "cluster", "namespace", "project", "source", "reason", "made_by", "suspended", "held"] as const;
export const groupings = ["dialect", "cluster", "namespace", "project", "source", "health", "sync"] as const;

export interface Look {
  query: ListQuery;
  view: "table" | "tiles";
  group: string; // "": not grouped
  columns: readonly string[];
}

export function lookFromUrl(params: URLSearchParams): Look {
  const group = params.get("group") ?? "";
  return {
    query: queryFromUrl(params, fields),
    view: params.get("view") === "tiles" ? "tiles" : "table",
    group: (groupings as readonly string[]).includes(group) ? group : "",
    columns: params.get("columns")?.split(",") ?? defaultColumns,
  };
}

export function lookToUrl(look: Look): URLSearchParams {
  const params = queryToUrl(new URLSearchParams(), look.query, fields);
  if (look.view === "tiles") params.set("view", "tiles");
  if (look.group) params.set("group", look.group);
  if (look.columns.join() !== defaultColumns.join()) params.set("columns", look.columns.join());
  return params;
}
