import { useMemo, useRef } from "react";
import { useSearchParams } from "wouter";
import { pathOf } from "~/api/refs";
import { withValue, type ListQuery } from "~/api/query";
import { useCrumbs } from "~/app/crumbs";
import { useKeys } from "~/app/keys";
import type { Activity as Entry } from "~/gen/plumb/v1/fleet_pb";
import { Button } from "~/parts/button/Button";
import { valueTitle } from "~/parts/facets/FacetPanel";
import { List } from "~/parts/list/List";
import { useListQuery } from "~/parts/list/useListQuery";
import { ChoiceMenu } from "~/parts/menu/Menu";
import { Page } from "~/parts/page/Page";
import { VirtualTable, type TableHandle } from "~/parts/table/VirtualTable";
import { actionTitle, columnsFor, Compact } from "./columns";
import { entryKey, spans, useFeed, type Span } from "./feed";

const fields = ["failed", "action", "actor", "kind", "namespace", "delivery", "result"] as const;
const skeletonRows = 24;
// Rows that stand for older entries which are on their way.
const waiting = 8;
// Older entries are asked for when so few rows are left below.
const ahead = 30;

const spanTitles: Record<Span, string> = { "": "Any time", "1h": "Last hour", "24h": "Last day", "7d": "Last week", "30d": "Last month" };
const actions = ["run", "sync", "refresh", "suspend", "resume", "approve", "rollback", "terminate", "delete", "lift", "login", "logout"];

export default function Activity() {
  useCrumbs({ label: "Activity" });
  const [query, setQuery] = useListQuery(fields);
  const [params, setParams] = useSearchParams();
  const asked = params.get("since") ?? "";
  const span: Span = asked in spans ? (asked as Span) : "";
  const setSpan = (next: Span) =>
    setParams((before) => {
      const result = new URLSearchParams(before);
      if (next) result.set("since", next);
      else result.delete("since");
      return result;
    }, { replace: true });

  const { state, down, look, pending } = useFeed(query, span);
  const table = useRef<TableHandle>(null);
  useKeys("List", [
    { keys: "j", label: "Next row", run: () => table.current?.focus(1) },
    { keys: "k", label: "Row before", run: () => table.current?.focus(-1) },
  ]);
  const latest = useRef({ query, setQuery });
  latest.current = { query, setQuery };
  const columns = useMemo(() => columnsFor((actor) => latest.current.setQuery(withValue(latest.current.query, "actor", actor, true))), []);
  const count = state.entries.length;
  const narrowed = span !== "" && state.ready && count === 0;
  return (
    <Page title="Activity" fill>
      <h1 className="unseen">Activity</h1>
      <List
        name="activity"
        placeholder="Who, what, object, message…"
        query={query}
        onQuery={setQuery}
        tools={<Tools query={query} onQuery={setQuery} span={span} onSpan={setSpan} entries={state.entries} />}
        state={{ ready: state.ready, trouble: state.trouble, total: count }}
        pending={pending}
        retry={() => void look()}
        foot={`${count.toLocaleString()} ${count === 1 ? "entry" : "entries"}${state.more ? ", and older ones below" : ""}`}
        none={narrowed ? { icon: "clock", title: "Nothing happened in this time", text: <Button onPress={() => setSpan("")}>Show any time</Button> } : { icon: "activity", title: "Nothing has happened yet", text: <p>What people do, and what Plumb delivers, is written down here.</p> }}
      >
        <VirtualTable
          ref={table}
          label="Activity"
          columns={columns}
          count={state.ready ? count + (state.more ? waiting : 0) : skeletonRows}
          slotAt={(index) => {
            const row = state.entries[index];
            return row ? { kind: "row", key: entryKey(row), row } : { kind: "wait", key: `wait${index}` };
          }}
          onRange={(_, last) => last + ahead > count && void down()}
          href={(a: Entry) => pathOf(a.object)}
          rowHeight={38}
          compact={(a) => <Compact activity={a} />}
        />
      </List>
    </Page>
  );
}

interface ToolsProps {
  query: ListQuery;
  onQuery: (query: ListQuery) => void;
  span: Span;
  onSpan: (span: Span) => void;
  entries: readonly Entry[];
}

// Tools narrow by time, by what was done, and by whom of those that were seen.
function Tools({ query, onQuery, span, onSpan, entries }: ToolsProps) {
  const actors = useMemo(() => [...new Set([...entries.map((e) => e.actor), ...(query.where.actor ?? [])])].sort(), [entries, query.where.actor]);
  const choose = (field: string, values: string[]) => {
    const { [field]: _, ...rest } = query.where;
    onQuery({ ...query, where: values.length > 0 ? { ...rest, [field]: values } : rest });
  };
  const failed = (query.where.failed ?? []).includes("true");
  return (
    <>
      <Button icon="error" look={failed ? "plain" : "ghost"} aria-pressed={failed} onPress={() => onQuery(withValue(query, "failed", "true", !failed))}>Failed</Button>
      <ChoiceMenu several title="Action" button={<Button icon="filter" look="ghost">Action</Button>} items={actions.map((id) => ({ id, label: actionTitle(id) }))} chosen={query.where.action ?? []} onChoose={(ids) => choose("action", ids)} />
      <ChoiceMenu several title="Who" button={<Button icon="person" look="ghost">Who</Button>} items={actors.map((actor) => ({ id: `by:${actor}`, label: valueTitle("actor", actor) }))} chosen={(query.where.actor ?? []).map((actor) => `by:${actor}`)} onChoose={(ids) => choose("actor", ids.map((id) => id.slice("by:".length)))} />
      <ChoiceMenu title="When" button={<Button icon="clock" look={span ? "plain" : "ghost"}>{spanTitles[span]}</Button>} items={(Object.keys(spanTitles) as Span[]).map((id) => ({ id: id || "any", label: spanTitles[id] }))} chosen={[span || "any"]} onChoose={([id = "any"]) => onSpan(id === "any" ? "" : (id as Span))} />
    </>
  );
}
