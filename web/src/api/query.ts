// What a list is narrowed and ordered by, as it stands in the address of the page
// and as the server takes it.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { QuerySchema } from "~/gen/plumb/v1/common_pb";

export interface ListQuery {
  search: string;
  where: Record<string, string[]>;
  labels: string;
  order: string;
}

export const everything: ListQuery = { search: "", where: {}, labels: "", order: "" };

// queryFromUrl reads the parameters of a page; fields are those that facets are
// known by, anything else in the address is not part of the query.
export function queryFromUrl(params: URLSearchParams, fields: readonly string[]): ListQuery {
  const where: ListQuery["where"] = {};
  for (const field of fields) {
    const values = params.getAll(field);
    if (values.length > 0) where[field] = values;
  }
  return { search: params.get("q") ?? "", where, labels: params.get("labels") ?? "", order: params.get("order") ?? "" };
}

// queryToUrl writes a query into a copy of params and leaves other parameters alone.
export function queryToUrl(params: URLSearchParams, query: ListQuery, fields: readonly string[]): URLSearchParams {
  const result = new URLSearchParams(params);
  for (const field of fields) {
    result.delete(field);
    for (const value of query.where[field] ?? []) result.append(field, value);
  }
  for (const [name, value] of [["q", query.search], ["labels", query.labels], ["order", query.order]] as const) {
    if (value) result.set(name, value);
    else result.delete(name);
  }
  return result;
}

export function queryForServer(
  query: ListQuery,
  page: { skip?: number; size?: number; token?: string } = {},
): MessageInitShape<typeof QuerySchema> {
  const where = Object.fromEntries(Object.entries(query.where).map(([field, values]) => [field, { values }]));
  return {
    search: query.search,
    where,
    labelSelector: query.labels,
    orderBy: query.order,
    pageSize: page.size ?? 0,
    skip: page.skip ?? 0,
    pageToken: page.token ?? "",
  };
}

// withValue chooses or drops one value of a field.
export function withValue(query: ListQuery, field: string, value: string, chosen: boolean): ListQuery {
  const others = (query.where[field] ?? []).filter((v) => v !== value);
  const values = chosen ? [...others, value] : others;
  const { [field]: _, ...rest } = query.where;
  return { ...query, where: values.length > 0 ? { ...rest, [field]: values } : rest };
}

export function isNarrowed(query: ListQuery): boolean {
  return query.search !== "" || query.labels !== "" || Object.keys(query.where).length > 0;
}
