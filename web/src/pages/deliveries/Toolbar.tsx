import { memo, useRef, useState } from "react";
import { useKeys } from "~/app/keys";
import { Button } from "~/parts/button/Button";
import { CopyButton } from "~/parts/copy/CopyButton";
import { Dialog } from "~/parts/dialog/Dialog";
import { fieldTitle } from "~/parts/facets/FacetPanel";
import { Choice, TextField } from "~/parts/field/Field";
import { Icon } from "~/parts/icon/Icon";
import { ChoiceMenu, Menu } from "~/parts/menu/Menu";
import { useNarrow } from "~/parts/table/useNarrow";
import { toast } from "~/parts/toast/toast";
import { WordsField } from "~/parts/words/WordsField";
import { groupings, lookToUrl, type Look } from "./address";
import { columns } from "./columns";
import { builtIn, removeView, saveView, useViews } from "./views";
import styles from "./Toolbar.module.css";

export interface ToolbarProps {
  look: Look;
  onLook: (look: Look) => void;
  onAddress: (search: string) => void;
  filters: boolean;
  onFilters: () => void;
  narrowed: number; // how many fields narrow the list
}

export const Toolbar = memo(function Toolbar({ look, onLook, onAddress, filters, onFilters, narrowed }: ToolbarProps) {
  const search = useRef<HTMLInputElement>(null);
  useKeys("Deliveries", [
    { keys: "/", label: "Search deliveries", run: () => search.current?.focus() },
    { keys: "f", label: "Show or hide the filters", run: onFilters },
    { keys: "v", label: "Table or tiles", run: () => onLook({ ...look, view: look.view === "table" ? "tiles" : "table" }) },
  ]);
  const narrow = useNarrow();
  const orders = columns.filter((c) => c.order).flatMap((c) => [{ id: c.order!, label: c.title }, { id: `${c.order} desc`, label: `${c.title}, downwards` }]);
  return (
    <div className={styles.toolbar} role="toolbar" aria-label="How the list is shown">
      <Button icon="filter" look={filters ? "plain" : "ghost"} aria-pressed={filters} onPress={onFilters}>
        Filters
        {narrowed > 0 && <span className={styles.badge}>{narrowed}</span>}
      </Button>
      <div className={styles.search}><WordsField label="Search deliveries" placeholder="Name, URL, path, message…" field={search} words={look.query.search} onWords={(words) => onLook({ ...look, query: { ...look.query, search: words } })} /></div>
      <Views look={look} onAddress={onAddress} />
      <ChoiceMenu
        title="Group by"
        button={<Button icon="group" look="ghost" aria-label="Group by">{look.group ? fieldTitle(look.group) : "Group"}</Button>}
        items={[{ id: "", label: "Nothing" }, ...groupings.map((field) => ({ id: field, label: fieldTitle(field) }))].map((item) => ({ ...item, id: item.id || "none" }))}
        chosen={[look.group || "none"]}
        onChoose={([group = "none"]) => onLook({ ...look, group: group === "none" ? "" : group })}
      />
      {look.view === "table" && !narrow ? (
        <ChoiceMenu
          several
          title="Columns"
          button={<Button icon="columns" look="ghost" aria-label="Columns" />}
          items={columns.filter((c) => !c.always).map((c) => ({ id: c.id, label: c.title }))}
          chosen={look.columns}
          onChoose={(ids) => onLook({ ...look, columns: ["name", ...ids] })}
        />
      ) : (
        <ChoiceMenu
          title="Order"
          button={<Button icon="arrowDown" look="ghost" aria-label="Order" />}
          items={[{ id: "none", label: "What is wrong first" }, ...orders]}
          chosen={[look.query.order || "none"]}
          onChoose={([order = "none"]) => onLook({ ...look, query: { ...look.query, order: order === "none" ? "" : order } })}
        />
      )}
      {!narrow && <Choice
        label="Shown as"
        value={look.view}
        options={[
          { id: "table", label: <Icon name="table" size={14} />, text: "Table" },
          { id: "tiles", label: <Icon name="tiles" size={14} />, text: "Tiles" },
        ]}
        onChange={(view) => onLook({ ...look, view })}
      />}
    </div>
  );
});

function Views({ look, onAddress }: { look: Look; onAddress: (search: string) => void }) {
  const own = useViews();
  const [saving, setSaving] = useState(false);
  const here = lookToUrl(look).toString();
  const all = [...builtIn, ...own];
  const now = all.find((view) => view.search === here);
  const mine = own.find((view) => view === now);
  return (
    <>
      <Menu
        label="Views"
        button={<Button icon="star" look="ghost" aria-label={`Views: ${now?.name ?? "a view of its own"}`}>{now?.name ?? "Views"}</Button>}
        items={[
          ...all.map((view, i) => ({ id: `view:${i}`, label: view.name, text: view.name, icon: view === now ? ("check" as const) : undefined, note: i >= builtIn.length ? "yours" : undefined })),
          { id: "save", label: "Save this view…", icon: "plus" as const },
          ...(mine ? [{ id: "remove", label: `Remove “${mine.name}”`, icon: "trash" as const, danger: true }] : []),
        ]}
        onAction={(id) => {
          if (id === "save") setSaving(true);
          else if (id === "remove" && mine) removeView(mine.name);
          else onAddress(all[Number(id.slice("view:".length))]?.search ?? "");
        }}
      />
      {saving && <SaveView search={here} onClose={() => setSaving(false)} />}
    </>
  );
}

function SaveView({ search, onClose }: { search: string; onClose: () => void }) {
  const [name, setName] = useState("");
  const address = `${window.location.origin}/deliveries${search && `?${search}`}`;
  const save = () => {
    saveView({ name: name.trim(), search });
    toast({ tone: "good", title: `Saved as “${name.trim()}”` });
    onClose();
  };
  return (
    <Dialog title="Save this view" size="s" onClose={onClose} footer={<><Button onPress={onClose}>Cancel</Button><Button look="primary" disabled={!name.trim()} onPress={save}>Save</Button></>}>
      <form className={styles.save} onSubmit={(event) => (event.preventDefault(), name.trim() && save())}>
        <TextField label="Name" value={name} onChange={setName} autoFocus help="Kept in this browser. Others get it by its address:" />
        <div className={styles.address}><code className="cut">{address}</code><CopyButton text={address} what="Copy address" /></div>
      </form>
    </Dialog>
  );
}

