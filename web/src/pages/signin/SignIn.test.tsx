import { screen, waitFor } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test } from "vitest";
import { showApp } from "../../../test/show";

test("offers the identity provider, the local account, and where the first password is", async () => {
  showApp("/signin?back=%2Fsources", { signedIn: false });
  const link = await screen.findByRole("link", { name: "Continue with Example Corp" });
  expect(link.getAttribute("href")).toBe("/auth/login?return=%2Fsources");
  expect(screen.getByText(/argocd-initial-admin-secret/)).toBeTruthy();
});

test("a wrong password is told, and asked for again", async () => {
  showApp("/signin", { signedIn: false });
  await userEvent.type(await screen.findByLabelText(/^Password/), "guess");
  await userEvent.click(screen.getByRole("button", { name: "Sign in" }));
  expect(await screen.findByText("the name or the password is wrong")).toBeTruthy();
});

test.each(["//evil.example.org", "https://evil.example.org", "/\\evil.example.org", "/signin?back=/signin"])("nobody is sent to %s", async (back) => {
  showApp(`/signin?back=${encodeURIComponent(back)}`, { signedIn: false });
  const link = await screen.findByRole("link", { name: /Continue with/ });
  await waitFor(() => expect(link.getAttribute("href")).toBe("/auth/login?return=%2Fdeliveries"));
});
