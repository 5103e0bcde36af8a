// Where a line of a source is shown by the host of its repository.

export interface Place {
  url: string; // of the repository
  revision: string; // as Plumb tells it
  commit?: string;
  file?: string;
  line?: number;
}

// commitOf is the commit in a revision such as "main@sha1:0123…"; "" where there is none.
export function commitOf(revision: string): string {
  return /(?:^|:|\/)([0-9a-f]{40})$/.exec(revision)?.[1] ?? "";
}

// linkToSource is an address that people can open; undefined for hosts whose
// addresses are not known, and for what is not in Git.
export function linkToSource({ url, revision, commit, file, line }: Place): string | undefined {
  const repository = webOf(url);
  const at = commit || commitOf(revision);
  if (!repository || !at) return undefined;
  const { base, host } = repository;
  const gitlab = host.split(".").includes("gitlab");
  const known = gitlab || host === "github.com" || host.startsWith("github.") || host === "bitbucket.org" || host === "codeberg.org" || /^gitea\.|^forgejo\./.test(host);
  if (!known) return undefined;
  const path = file && file.replace(/^\.?\//, "").split("/").map(encodeURIComponent).join("/");
  if (gitlab) return path ? `${base}/-/blob/${at}/${path}${line ? `#L${line}` : ""}` : `${base}/-/commit/${at}`;
  if (host === "bitbucket.org") return path ? `${base}/src/${at}/${path}${line ? `#lines-${line}` : ""}` : `${base}/commits/${at}`;
  const blob = host === "github.com" || host.startsWith("github.") ? "blob" : "src/commit";
  return path ? `${base}/${blob}/${at}/${path}${line ? `#L${line}` : ""}` : `${base}/commit/${at}`;
}

// webOf is the repository as browsers open it.
function webOf(url: string): { base: string; host: string } | undefined {
  const scp = /^(?:ssh:\/\/)?(?:[^@/]+@)?([\w.-]+)(?::\d+)?[:/](.+?)(?:\.git)?\/?$/;
  const [, host, path] = /^https?:\/\/(?:[^@/]+@)?([\w.-]+)(?::\d+)?\/(.+?)(?:\.git)?\/?$/.exec(url) ?? (/^(ssh:|[^/]+@)/.test(url) ? scp.exec(url) : null) ?? [];
  return host && path ? { base: `https://${host}/${path}`, host: host.toLowerCase() } : undefined;
}

// linkToComparison is where the host of a repository shows what is between two commits.
export function linkToComparison(url: string, from: Pick<Place, "revision"> & { commit?: { hash: string } }, to: Pick<Place, "revision"> & { commit?: { hash: string } }): string | undefined {
  const [before, after] = [from, to].map((end) => end.commit?.hash || commitOf(end.revision));
  const page = linkToSource({ url, revision: "", commit: after });
  if (!page || !before || before === after) return undefined;
  const base = page.replace(/\/commits?\/[0-9a-f]+$/, "");
  return page.includes("/commits/") ? `${base}/branches/compare/${after}%0D${before}` : `${base}/compare/${before}...${after}`;
}
