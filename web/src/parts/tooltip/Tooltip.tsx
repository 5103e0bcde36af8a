import type { ReactElement } from "react";
import { Focusable, Tooltip as AriaTooltip, TooltipTrigger } from "react-aria-components";
import styles from "./Tooltip.module.css";

// Tooltip tells what its one child is for, on hover and on focus. The child has
// to be focusable; what it says has to be known without the tooltip, too.
export function Tooltip({ text, keys, children }: { text: string; keys?: string; children: ReactElement<any> }) {
  return (
    <TooltipTrigger delay={450} closeDelay={60}>
      {typeof children.type === "string" ? <Focusable>{children as ReactElement<any, string>}</Focusable> : children}
      <AriaTooltip className={styles.tooltip} offset={6}>
        {text}
        {keys && <kbd>{keys}</kbd>}
      </AriaTooltip>
    </TooltipTrigger>
  );
}
