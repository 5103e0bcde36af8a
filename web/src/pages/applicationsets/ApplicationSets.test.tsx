import { screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test } from "vitest";
import { World } from "../../../mock/world";
import { showApp } from "../../../test/show";

test("a set unfolds into the Applications that it made, and the address keeps it", async () => {
  const world = new World(600);
  const child = world.deliveries.find((d) => d.madeBy && world.delivery(d.madeBy))!;
  const name = child.madeBy!.name;
  const { history } = showApp(`/applicationsets?q=${name}`, { world });
  const link = await screen.findByRole("link", { name });
  await userEvent.click(link.closest<HTMLElement>("[role=row]")!);
  const many = world.deliveries.filter((d) => d.madeBy?.name === name).length;
  expect(await screen.findByText(`${many} ${many === 1 ? "application" : "applications"}`)).toBeTruthy();
  expect(await screen.findByRole("link", { name: child.ref!.name })).toBeTruthy();
  expect(decodeURIComponent(history!.at(-1)!)).toContain(`open=ApplicationSet/argocd/${name}`);
});
