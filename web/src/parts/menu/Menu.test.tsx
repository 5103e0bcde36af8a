import { render, screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { useState } from "react";
import { expect, test, vi } from "vitest";
import { Button } from "../button/Button";
import { ChoiceMenu, Menu, type Item } from "./Menu";

const items: Item[] = [
  { id: "suspend", label: "Suspend" },
  { id: "sync", label: "Sync" },
  { id: "delete", label: "Delete", danger: true, disabled: "viewer may not delete" },
];
const focused = () => document.activeElement?.textContent;

test("is opened, walked through and left by the keyboard, and gives the focus back", async () => {
  const act = vi.fn();
  render(<><Menu label="Actions" button={<Button>More</Button>} items={items} onAction={act} /><Button>After</Button></>);
  const user = userEvent.setup();
  await user.tab();
  await user.keyboard("{ArrowDown}");
  expect(screen.getByRole("menu", { name: "Actions" })).toBeTruthy();
  expect(focused()).toBe("Suspend");
  await user.keyboard("{ArrowUp}");
  expect(focused()).toContain("Delete");
  await user.keyboard("s");
  expect(focused()).toBe("Suspend");
  await user.keyboard("y");
  expect(focused()).toBe("Sync");
  await user.keyboard("{Enter}");
  expect(act.mock.calls).toEqual([["sync"]]);
  expect(screen.queryByRole("menu")).toBeNull();
  expect(focused()).toBe("More");
  await user.keyboard("{Enter}{Escape}");
  expect(screen.queryByRole("menu")).toBeNull();
  expect(focused()).toBe("More");
  await user.keyboard("{ArrowDown}{Tab}");
  expect(screen.queryByRole("menu")).toBeNull();
  expect(focused()).toBe("After");
});

test("what may not be chosen says why, and is not chosen", async () => {
  const act = vi.fn();
  render(<Menu label="Actions" button={<Button>More</Button>} items={items} onAction={act} />);
  const user = userEvent.setup();
  await user.click(screen.getByRole("button"));
  const item = screen.getByRole("menuitem", { name: /viewer may not delete/i });
  expect(item.getAttribute("aria-disabled")).toBe("true");
  await user.click(item);
  expect(act).not.toHaveBeenCalled();
  await user.click(document.body);
  expect(screen.queryByRole("menu")).toBeNull();
});

test("several are chosen one after another", async () => {
  const Several = () => {
    const [chosen, setChosen] = useState(["sync"]);
    return <ChoiceMenu several title="Columns" button={<Button>{chosen.join()}</Button>} items={items.slice(0, 2)} chosen={chosen} onChoose={setChosen} />;
  };
  render(<Several />);
  const user = userEvent.setup();
  await user.click(screen.getByRole("button"));
  expect(screen.getByRole("menuitemcheckbox", { name: "Sync" }).getAttribute("aria-checked")).toBe("true");
  await user.click(screen.getByRole("menuitemcheckbox", { name: "Suspend" }));
  expect(screen.getByRole("button").textContent).toBe("suspend,sync");
  await user.keyboard("{End}{Enter}");
  expect(screen.getByRole("button").textContent).toBe("suspend");
});
