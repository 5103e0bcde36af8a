import type { ReactElement, ReactNode } from "react";
import { Header, Menu as AriaMenu, MenuItem, MenuSection, MenuTrigger, Popover, type Selection } from "react-aria-components";
import { Icon, type IconName } from "../icon/Icon";
import styles from "./Menu.module.css";

export interface Item {
  id: string;
  label: ReactNode;
  // What is read out and typed for, where label is more than a string.
  text?: string;
  icon?: IconName;
  note?: ReactNode; // quietly at the end of the line
  danger?: boolean;
  disabled?: string; // why it cannot be chosen
}

function Line({ item, chosen }: { item: Item; chosen?: boolean }) {
  return (
    <MenuItem
      id={item.id}
      className={styles.item}
      data-danger={item.danger || undefined}
      isDisabled={!!item.disabled}
      textValue={item.text ?? (typeof item.label === "string" ? item.label : item.id)}
    >
      {chosen !== undefined ? <span className={styles.tick}>{chosen && <Icon name="check" size={14} />}</span> : item.icon && <Icon name={item.icon} />}
      <span className={styles.label}>
        {item.label}
        {item.disabled && <span className={styles.why}>{item.disabled}</span>}
      </span>
      {item.note && <span className={styles.note}>{item.note}</span>}
    </MenuItem>
  );
}

// Menu opens below its first child, a Button or IconButton.
export function Menu({ button, items, onAction, label }: { button: ReactElement; items: Item[]; onAction: (id: string) => void; label: string }) {
  return (
    <MenuTrigger>
      {button}
      <Popover className={styles.popover} placement="bottom end" offset={4}>
        <AriaMenu className={styles.menu} aria-label={label} onAction={(id) => onAction(String(id))}>
          {items.map((item) => (
            <Line key={item.id} item={item} />
          ))}
        </AriaMenu>
      </Popover>
    </MenuTrigger>
  );
}

// ChoiceMenu chooses one of its items, or several.
export function ChoiceMenu({ button, title, items, chosen, onChoose, several }: { button: ReactElement; title: string; items: Item[]; chosen: readonly string[]; onChoose: (ids: string[]) => void; several?: boolean }) {
  const choose = (selection: Selection) => onChoose(selection === "all" ? items.map((i) => i.id) : items.map((i) => i.id).filter((id) => selection.has(id)));
  return (
    <MenuTrigger>
      {button}
      <Popover className={styles.popover} placement="bottom start" offset={4}>
        <AriaMenu className={styles.menu} aria-label={title} selectionMode={several ? "multiple" : "single"} disallowEmptySelection={!several} selectedKeys={chosen} onSelectionChange={choose}>
          <MenuSection>
            <Header className={styles.title}>{title}</Header>
            {items.map((item) => (
              <Line key={item.id} item={item} chosen={chosen.includes(item.id)} />
            ))}
          </MenuSection>
        </AriaMenu>
      </Popover>
    </MenuTrigger>
  );
}
