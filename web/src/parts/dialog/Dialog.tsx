import type { ReactNode } from "react";
import { Dialog as AriaDialog, Heading, Modal, ModalOverlay } from "react-aria-components";
import { IconButton } from "../button/Button";
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
  return (
    <ModalOverlay className={styles.veil} data-look={look} isOpen isDismissable onOpenChange={(open) => !open && onClose()}>
      <Modal className={styles.modal} data-size={size} data-look={look}>
        <AriaDialog className={styles.dialog}>
          <header className={styles.header}>
            <Heading slot="title">{title}</Heading>
            <IconButton icon="close" label="Close" onPress={onClose} />
          </header>
          <div className={styles.body}>{children}</div>
          {footer && <footer className={styles.footer}>{footer}</footer>}
        </AriaDialog>
      </Modal>
    </ModalOverlay>
  );
}
