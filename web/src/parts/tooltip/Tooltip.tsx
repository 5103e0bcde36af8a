import { cloneElement, useEffect, useId, useLayoutEffect, useRef, useState, type DOMAttributes, type ReactElement } from "react";
import { createPortal } from "react-dom";
import styles from "./Tooltip.module.css";

// Whoever only passes by is told nothing; whoever goes from one to the next is told at once.
const patience = 450;
const grace = 80;
const gap = 6;
let lastShown = 0;

type Child = ReactElement<DOMAttributes<HTMLElement> & { "aria-describedby"?: string }>;

// Tooltip tells what its one child is for, on hover and on focus. The child has
// to be focusable; what it says has to be known without the tooltip, too.
export function Tooltip({ text, keys, children }: { text: string; keys?: string; children: Child }) {
  const [target, setTarget] = useState<HTMLElement>();
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const id = useId();
  const later = (work: () => void, wait: number) => {
    clearTimeout(timer.current);
    timer.current = setTimeout(work, wait);
  };
  const show = (element: HTMLElement) => {
    lastShown = Date.now();
    setTarget(element);
  };
  const hide = () => {
    clearTimeout(timer.current);
    setTarget(undefined);
  };
  useEffect(() => () => clearTimeout(timer.current), []);

  const { props } = children;
  const child = cloneElement(children, {
    "aria-describedby": target ? id : props["aria-describedby"],
    onPointerEnter(event) {
      props.onPointerEnter?.(event);
      const element = event.currentTarget;
      if (event.pointerType !== "touch") later(() => show(element), Date.now() - lastShown < 3 * patience ? grace : patience);
    },
    onPointerLeave(event) {
      props.onPointerLeave?.(event);
      later(hide, grace);
    },
    onFocus(event) {
      props.onFocus?.(event);
      if (event.currentTarget.matches(":focus-visible")) show(event.currentTarget);
    },
    onBlur(event) {
      props.onBlur?.(event);
      hide();
    },
    onPointerDown(event) {
      props.onPointerDown?.(event);
      hide();
    },
    onKeyDown(event) {
      props.onKeyDown?.(event);
      if (target && event.key === "Escape") hide();
    },
  });
  return (
    <>
      {child}
      {target?.isConnected && <Words id={id} target={target} text={text} keys={keys} onStay={() => clearTimeout(timer.current)} onLeave={() => later(hide, grace)} />}
    </>
  );
}

function Words({ id, target, text, keys, onStay, onLeave }: { id: string; target: HTMLElement; text: string; keys?: string; onStay: () => void; onLeave: () => void }) {
  const words = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    // The top layer is above windows, too.
    words.current!.showPopover();
    const { style, offsetWidth: width, offsetHeight: height } = words.current!;
    const at = target.getBoundingClientRect();
    const above = at.top - height - gap;
    style.left = `${Math.max(gap, Math.min(window.innerWidth - width - gap, at.left + at.width / 2 - width / 2))}px`;
    style.top = `${above > gap ? above : at.bottom + gap}px`;
  }, [target, text]);
  return createPortal(
    <div ref={words} id={id} popover="manual" role="tooltip" className={styles.tooltip} onPointerEnter={onStay} onPointerLeave={onLeave}>
      {text}
      {keys && <kbd>{keys}</kbd>}
    </div>,
    target.closest("dialog") ?? document.body,
  );
}
