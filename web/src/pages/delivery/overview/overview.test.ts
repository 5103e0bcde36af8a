import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { refOf } from "~/api/refs";
import { ExplainResponseSchema, ResourceSchema, type ExplainResponse } from "~/gen/plumb/v1/deliveries_pb";
import { chainOf, headOf, isToldAbove, needsAttention } from "./explanation";
import { countsOf, shownResources, type ResourceFilter } from "./resources";
import { commitOf, linkToSource } from "./sourcelink";
import { shortDuration } from "./windows";

const deployment = refOf({ group: "apps", kind: "Deployment", namespace: "shop", name: "api" });
const explained = (init: Partial<ExplainResponse>) => create(ExplainResponseSchema, { state: "wrong", ...(init as object) });
const because = (text: string, more: object = {}) => ({ text, ...more });

describe("an explanation", () => {
  it("is a chain whose last place is the root", () => {
    const steps = chainOf(explained({ because: [because("Kustomization api is not ready"), because("the Deployment is degraded", { object: deployment }), because("it came with a commit", { file: "api/deployment.yaml", line: 31 }), because("and 3 more")] as never }));
    expect(steps.map((s) => s.text)).toEqual(["Kustomization api is not ready", "the Deployment is degraded", "it came with a commit", "and 3 more"]);
    expect(steps.map((s) => s.root)).toEqual([false, false, true, false]);
  });

  it("says nothing twice", () => {
    const steps = chainOf(explained({ headline: "api stopped: no such file", because: [because("no such file"), because("x", { object: deployment }), because("x", { object: deployment })] as never }));
    expect(steps.map((s) => s.text)).toEqual(["x"]);
    expect(steps[0]!.root).toBe(false);
    // With a place it stays: the place is what one looks for.
    expect(chainOf(explained({ headline: "api stopped: no such file", because: [because("no such file", { file: "kustomization.yaml", line: 7 })] as never }))).toMatchObject([{ text: "", file: "kustomization.yaml" }]);
  });

  it("is the first thing to see unless all is well", () => {
    expect(["ok", "wrong", "waiting", "held", "suspended", "working", "unknown"].filter(needsAttention)).toEqual(["wrong", "waiting", "held", "suspended", "working", "unknown"]);
  });

  it("leaves to the banner what the banner says", () => {
    expect(isToldAbove(explained({ state: "held", because: [because("20 of 40 objects")] as never }))).toBe(true);
    expect(isToldAbove(explained({ state: "held", because: [because("it is degraded", { object: deployment })] as never }))).toBe(false);
    expect(isToldAbove(explained({ state: "wrong" }))).toBe(false);
  });
});

describe("links to the source", () => {
  const commit = "0123456789abcdef0123456789abcdef01234567";
  const place = { revision: `main@sha1:${commit}`, file: "./apps/api/deploy ment.yaml", line: 12 };

  it("are those of the host", () => {
    expect(linkToSource({ ...place, url: "https://github.com/acme/deploy.git" })).toBe(`https://github.com/acme/deploy/blob/${commit}/apps/api/deploy%20ment.yaml#L12`);
    expect(linkToSource({ ...place, url: "ssh://git@gitlab.example.org:2222/acme/deploy" })).toBe(`https://gitlab.example.org/acme/deploy/-/blob/${commit}/apps/api/deploy%20ment.yaml#L12`);
    expect(linkToSource({ url: "git@github.com:acme/deploy.git", revision: commit })).toBe(`https://github.com/acme/deploy/commit/${commit}`);
  });

  it("are left out where nobody knows them", () => {
    expect(linkToSource({ ...place, url: "https://git.example.org/acme/deploy" })).toBeUndefined();
    expect(linkToSource({ ...place, url: "oci://ghcr.io/acme/deploy" })).toBeUndefined();
    expect(linkToSource({ ...place, url: "javascript:alert(1)//github.com/a/b" })).toBeUndefined();
    expect(linkToSource({ url: "https://github.com/acme/deploy", revision: "6.5.4" })).toBeUndefined();
  });

  it("find the commit in a revision", () => {
    expect([`main@sha1:${commit}`, commit, `refs/heads/x/${commit}`, "latest@sha256:ab", ""].map(commitOf)).toEqual([commit, commit, commit, "", ""]);
  });
});

describe("resources", () => {
  const resource = (kind: string, name: string, state: string, more: object = {}) => create(ResourceSchema, { object: refOf({ kind, namespace: "shop", name }), health: { state }, sync: "Synced", ...more });
  const all = [resource("Service", "b", "Healthy"), resource("Deployment", "a", "Degraded"), resource("ConfigMap", "c", "", { sync: "OutOfSync", drift: "data.LEVEL", wave: 2 }), resource("Secret", "d", "Healthy", { prune: true, file: "x/secret.yaml" })];
  const filter: ResourceFilter = { text: "", health: [], sync: [], kind: [], order: "" };
  const names = (f: Partial<ResourceFilter>) => shownResources(all, { ...filter, ...f }).map((r) => r.object!.name);

  it("begin with what is wrong", () => expect(names({})).toEqual(["a", "d", "c", "b"]));
  it("are narrowed by all that was chosen", () => {
    expect(names({ health: ["Healthy"] })).toEqual(["d", "c", "b"]);
    expect(names({ health: ["Healthy"], sync: ["OutOfSync"] })).toEqual(["c"]);
    expect(names({ text: "secret.YAML shop" })).toEqual(["d"]);
    expect(names({ kind: ["Job"] })).toEqual([]);
  });
  it("are ordered both ways", () => {
    expect(names({ order: "name" })).toEqual(["a", "b", "c", "d"]);
    expect(names({ order: "name desc" })).toEqual(["d", "c", "b", "a"]);
    expect(names({ order: "wave desc" })[0]).toBe("c");
  });
  it("are counted by what they are", () => expect(countsOf(all, (r) => r.sync)).toEqual([["Synced", 3], ["OutOfSync", 1]]));
});

it("ends a chain with the commit that it came with", () => {
  const steps = chainOf(explained({ because: [because("it came with commit 0123abcd"), because("the Deployment is degraded", { object: deployment })] as never }));
  expect(steps.map((s) => [s.text, s.root])).toEqual([["the Deployment is degraded", false], ["it came with commit 0123abcd", true]]);
});

it("parts a headline that is too long", () => {
  expect(headOf("sample stopped: no such file")).toEqual(["sample stopped: no such file", ""]);
  expect(headOf(`sample stopped: ${"x".repeat(200)}: y`)).toEqual(["sample stopped", `${"x".repeat(200)}: y`]);
});

it("says durations shortly", () => {
  expect(["1h0m0s", "1h30m0s", "45m0s", "30s", "10h0m5s"].map(shortDuration)).toEqual(["1h", "1h30m", "45m", "30s", "10h5s"]);
});
