import { useSession } from "~/api/session";
import { pages, type PageEntry } from "~/pages/registry";

export type RailEntry = PageEntry & { rail: NonNullable<PageEntry["rail"]> };

// useRail lists the pages that the rail shows: those that the server opens.
export function useRail(): RailEntry[] {
  const { me } = useSession();
  return pages.filter((page): page is RailEntry => !!page.rail && (!me || !page.rail.open || me.pages.includes(page.rail.open)));
}
