import { render, screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { useState } from "react";
import { expect, test } from "vitest";
import { Button } from "../button/Button";
import { TextField } from "../field/Field";
import { Dialog } from "./Dialog";

function Opening() {
  const [open, setOpen] = useState(false);
  return (
    <>
      <Button onPress={() => setOpen(true)}>Open</Button>
      {open && <Dialog title="Suspend" onClose={() => setOpen(false)}><TextField label="Why" autoFocus /></Dialog>}
    </>
  );
}

test("has a name, begins at the field that is meant, and gives the focus back", async () => {
  render(<Opening />);
  const user = userEvent.setup();
  await user.click(screen.getByRole("button", { name: "Open" }));
  expect(screen.getByRole("dialog", { name: "Suspend" })).toBeTruthy();
  expect(document.activeElement).toBe(screen.getByRole("textbox", { name: "Why" }));
  await user.keyboard("{Escape}");
  expect(screen.queryByRole("dialog")).toBeNull();
  expect(document.activeElement).toBe(screen.getByRole("button", { name: "Open" }));
});

test("a press beside it closes it, and marking its text does not", async () => {
  render(<Opening />);
  const user = userEvent.setup();
  await user.click(screen.getByRole("button", { name: "Open" }));
  const dialog = screen.getByRole("dialog");
  await user.pointer([{ target: screen.getByRole("textbox"), keys: "[MouseLeft>]" }, { target: dialog }, { keys: "[/MouseLeft]" }]);
  expect(screen.queryByRole("dialog")).toBeTruthy();
  await user.click(dialog);
  expect(screen.queryByRole("dialog")).toBeNull();
});
