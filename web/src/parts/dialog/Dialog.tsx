import { useId, type ReactNode } from "react";
import { IconButton } from "../button/Button";
import { Modal } from "./Modal";
import styles from "./Dialog.module.css";

export interface DialogProps {
  title: string;
  onClose: () => void;
  children: ReactNode;
  footer?: ReactNode;
  size?: "s" | "m" | "l";
  // "sheet" comes from the side, or from below on a phone.
  look?: "window" | "sheet";
}

// Dialog is open for as long as it is rendered.
export function Dialog({ title, onClose, children, footer, size = "m", look = "window" }: DialogProps) {
  const id = useId();
  return (
    <Modal labelledBy={id} size={size} look={look} onClose={onClose}>
      <div className={styles.dialog}>
        <header className={styles.header}>
          <h2 id={id}>{title}</h2>
          <IconButton icon="close" label="Close" onPress={onClose} />
        </header>
        <div className={styles.body}>{children}</div>
        {footer && <footer className={styles.footer}>{footer}</footer>}
      </div>
    </Modal>
  );
}
