import { cloneElement, useCallback, useRef, useState, type AriaAttributes, type KeyboardEvent, type ReactElement, type ReactNode, type Ref } from "react";
import type { IconName } from "../icon/Icon";
import { Popup, type PopupProps } from "./Popup";

export interface Item {
  id: string;
  label: ReactNode;
  // What is typed for, where label is more than a string.
  text?: string;
  icon?: IconName;
  note?: ReactNode; // quietly at the end of the line
  danger?: boolean;
  disabled?: string; // why it cannot be chosen
}

export interface Choosing {
  chosen: readonly string[];
  onChoose: (ids: string[]) => void;
  several?: boolean;
}

// Menu opens below its button, a Button or IconButton.
export function Menu({ button, ...menu }: { button: ReactElement; items: readonly Item[]; onAction: (id: string) => void; label: string }) {
  return <Opening button={button as Trigger} popup={{ ...menu, end: true }} />;
}

// ChoiceMenu chooses one of its items, or several.
export function ChoiceMenu({ button, title, items, ...choosing }: { button: ReactElement; title: string; items: readonly Item[] } & Choosing) {
  return <Opening button={button as Trigger} popup={{ label: title, heading: true, items, choosing }} />;
}

type Trigger = ReactElement<AriaAttributes & { ref?: Ref<HTMLButtonElement>; onPress?: () => void; onKeyDown?: (event: KeyboardEvent) => void }>;

function Opening({ button, popup }: { button: Trigger; popup: Omit<PopupProps, "trigger" | "onClose"> }) {
  const trigger = useRef<HTMLButtonElement>(null);
  const [open, setOpen] = useState(false);
  const close = useCallback(() => setOpen(false), []);
  return (
    <>
      {cloneElement(button, {
        ref: trigger,
        "aria-haspopup": "menu",
        "aria-expanded": open,
        onPress: () => setOpen(!open),
        onKeyDown: (event) => {
          if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
          event.preventDefault();
          setOpen(true);
        },
      })}
      {open && <Popup {...popup} trigger={trigger.current!} onClose={close} />}
    </>
  );
}
