import { useMemo } from "react";
import { useSearchParams } from "wouter";
import { queryFromUrl, queryToUrl, type ListQuery } from "~/api/query";

// useListQuery is the query that stands in the address of a page; fields are
// those that it may be narrowed by.
export function useListQuery(fields: readonly string[]): [ListQuery, (query: ListQuery) => void] {
  const [params, setParams] = useSearchParams();
  const address = params.toString();
  const query = useMemo(() => queryFromUrl(new URLSearchParams(address), fields), [address, fields]);
  return [query, (next) => setParams((before) => queryToUrl(before, next, fields), { replace: true })];
}
