// Sync options as people choose them for one sync (argo-cd,
// docs/user-guide/sync-options.md): those of the declaration unless somebody
// chooses others.

export interface SyncOption {
  id: string; // as syncOptions has it
  label: string;
  help: string;
}

export const syncOptions: readonly SyncOption[] = [
  { id: "ApplyOutOfSyncOnly=true", label: "Only what is out of sync", help: "leave the rest alone" },
  { id: "ServerSideApply=true", label: "Server-side apply", help: "let the API server merge" },
  { id: "Replace=true", label: "Replace", help: "instead of apply" },
  { id: "PruneLast=true", label: "Prune last", help: "when all else is healthy" },
  { id: "CreateNamespace=true", label: "Create the namespace", help: "if it is not there" },
  { id: "RespectIgnoreDifferences=true", label: "Respect ignored differences", help: "do not write what is ignored" },
  { id: "SkipDryRunOnMissingResource=true", label: "Skip the dry run of unknown kinds", help: "their definitions come with this sync" },
  { id: "Validate=false", label: "Do not validate", help: "against the schema" },
];

// declaredOptions reads spec.syncPolicy.syncOptions of a manifest as the server prints it.
export function declaredOptions(manifest: string): string[] {
  const [, list = ""] = /^ {4}syncOptions:\n((?: {4,}- .*\n?)*)/m.exec(manifest) ?? [];
  return [...list.matchAll(/- ["']?([\w=-]+)/g)].map(([, option]) => option!);
}

// withOption chooses or drops one option; those that are not offered stay.
export function withOption(options: readonly string[], id: string, on: boolean): string[] {
  const name = id.split("=")[0];
  const others = options.filter((o) => o.split("=")[0] !== name);
  return on ? [...others, id] : others;
}
