import { expect, test } from "vitest";
import { leadOf } from "./links";

const to = (address: string) => {
  const [path, search] = address.split("?") as [string, string?];
  const lead = leadOf(path, new URLSearchParams(search));
  return lead && "to" in lead ? lead.to : lead;
};
const shop = "/deliveries/argo-application/argocd/shop";
const pod = encodeURIComponent("/Pod/shop/web-1");

test.each([
  ["/applications/argocd/shop", `${shop}/overview`],
  ["/applications/argocd/shop?operation=true", `${shop}/overview`],
  ["/applications/argocd/shop?view=tree", `${shop}/graph`],
  ["/applications/argocd/shop?view=list", `${shop}/graph?view=list`],
  ["/applications/argocd/shop?rollback=0", `${shop}/history`],
  ["/applications/argocd/shop?resource=kind%3ADeployment,health%3ADegraded,name%3Aweb", `${shop}/overview?kind=Deployment&health=Degraded&q=web`],
  ["/applications/argocd/shop?view=tree&node=%2FPod%2Fshop%2Fweb-1%2F0&tab=logs", `${shop}/graph?object=${pod}&pane=logs`],
  ["/applications/argocd/shop?node=argoproj.io%2FApplication%2Fargocd%2Fshop%2F0&tab=diff", `${shop}/diff`],
  ["/applications", "/deliveries?dialect=argo"],
  ["/applications?proj=shop,default&health=Degraded&search=web&labels=a%253Db&view=tiles", "/deliveries?dialect=argo&project=shop&project=default&health=Degraded&labels=a%3Db&q=web&view=tiles"],
  ["/applicationsets/argocd/fleet", "/deliveries/argo-applicationset/argocd/fleet/overview"],
  ["/settings/repos", "/sources?dialect=argo"],
  ["/settings/projects/shop", "/projects?name=shop"],
  ["/settings/clusters/https%3A%2F%2Fexample.org", "/clusters?q=https%3A%2F%2Fexample.org"],
  ["/settings/accounts", "/settings"],
  ["/user-info", "/settings"],
  ["/login?return_url=%2Fapplications%2Fshop", "/signin?back=%2Fapplications%2Fshop"],
])("%s leads to %s", (address, place) => expect(to(address)).toBe(place));

test.each(["/settings/nothing", "/applications/a/b/c", "/elsewhere"])("%s leads nowhere", (address) => expect(to(address)).toBeUndefined());

test("a name alone is looked for", () => expect(to("/applications/shop")).toMatchObject({ kind: "Application", name: "shop" }));
