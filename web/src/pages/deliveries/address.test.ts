import { expect, test } from "vitest";
import { lookFromUrl, lookToUrl } from "./address";

test("what is looked at survives the way through the address", () => {
  const params = new URLSearchParams("q=api%20prod&health=Degraded&health=Missing&source=https%3A%2F%2Fgit.example.org%2Fa%2Cb&labels=team%3Dpayments&order=changed+desc&group=cluster&view=tiles&columns=name%2Csync");
  const look = lookFromUrl(params);
  expect(look.query.where).toEqual({ health: ["Degraded", "Missing"], source: ["https://git.example.org/a,b"] });
  expect(lookFromUrl(lookToUrl(look))).toEqual(look);
});

test("nothing is said of what is as usual", () => {
  expect(lookToUrl(lookFromUrl(new URLSearchParams())).toString()).toBe("");
});

test("unknown groupings are left out", () => {
  expect(lookFromUrl(new URLSearchParams("group=color")).group).toBe("");
});
