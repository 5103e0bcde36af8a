import { useLayoutEffect, useRef, useState, type ReactNode } from "react";
import { LiveRegion } from "../announce/announce";
import styles from "./Dialog.module.css";

export interface ModalProps {
  label?: string;
  labelledBy?: string;
  onClose: () => void;
  className?: string;
  look?: string;
  size?: string;
  children: ReactNode;
}

// Modal is a window that is open for as long as it is rendered. The browser keeps
// the focus inside it and the rest of the page out of reach (<dialog>); Escape and
// a press beside it ask to close it, and the focus goes back to where it was.
export function Modal({ label, labelledBy, onClose, className, look, size, children }: ModalProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const beside = useRef(false);
  // As it is before fields of the window take the focus.
  const [before] = useState(() => document.activeElement as HTMLElement | null);
  useLayoutEffect(() => {
    const element = dialog.current!;
    element.showModal();
    // Not the first button, which would be that to close it.
    (element.querySelector<HTMLElement>("[data-autofocus]") ?? element).focus();
    return () => {
      element.close();
      before?.focus({ preventScroll: true });
    };
  }, []);
  return (
    <dialog
      ref={dialog}
      className={className ? `${styles.modal} ${className}` : styles.modal}
      data-look={look}
      data-size={size}
      aria-label={label}
      aria-labelledby={labelledBy}
      tabIndex={-1}
      onCancel={(event) => {
        if (event.target !== dialog.current) return;
        event.preventDefault();
        onClose();
      }}
      onKeyDown={(event) => {
        if (event.key !== "Escape" || event.defaultPrevented) return;
        event.preventDefault();
        event.stopPropagation();
        onClose();
      }}
      onPointerDown={(event) => (beside.current = event.target === dialog.current)}
      // Marking text that ends outside is not a press beside it.
      onClick={(event) => beside.current && event.target === dialog.current && onClose()}
    >
      {children}
      <LiveRegion />
    </dialog>
  );
}
