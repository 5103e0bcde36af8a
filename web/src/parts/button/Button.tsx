import type { ComponentPropsWithRef, ReactNode } from "react";
import { Link as RouterLink } from "wouter";
import type { Permission } from "~/gen/plumb/v1/common_pb";
import { Icon, type IconName } from "../icon/Icon";
import { Tooltip } from "../tooltip/Tooltip";
import { sentence } from "../words/sentence";
import styles from "./Button.module.css";

export interface ButtonProps extends Omit<ComponentPropsWithRef<"button">, "onClick" | "disabled" | "className"> {
  children?: ReactNode;
  icon?: IconName;
  // What it looks like: "plain" has a border, "ghost" shows itself on hover.
  look?: "plain" | "primary" | "ghost" | "danger";
  size?: "s" | "m";
  onPress?: () => void;
  busy?: boolean; // it works: shown, and pressed no more
  disabled?: boolean;
}

export function Button({ children, icon, look = "plain", size = "m", type = "button", busy, disabled, onPress, ...rest }: ButtonProps) {
  // A busy button keeps the focus: one that is disabled would lose it.
  return (
    <button
      {...rest}
      type={type}
      className={styles.button}
      data-look={look}
      data-size={size}
      data-bare={children ? undefined : ""}
      aria-busy={busy || undefined}
      aria-disabled={busy || rest["aria-disabled"]}
      disabled={disabled}
      onClick={(event) => (busy ? event.preventDefault() : onPress?.())}
    >
      {icon && <Icon name={busy ? "refresh" : icon} size={size === "s" ? 14 : 16} className={busy ? styles.turning : undefined} />}
      {children}
    </button>
  );
}

// IconButton is a button without words; label is read out and shown on hover.
export function IconButton({ label, keys, icon, look = "ghost", ...rest }: Omit<ButtonProps, "children"> & { icon: IconName; label: string; keys?: string }) {
  return (
    <Tooltip text={label} keys={keys}>
      <Button {...rest} look={look} icon={icon} aria-label={label} />
    </Tooltip>
  );
}

// PermittedButton stays where it is when its action is not allowed, and says why
// to whoever points at it or comes to it by keyboard.
export function PermittedButton({ permission, ...rest }: ButtonProps & { permission: Permission | undefined }) {
  if (!permission || permission.allowed) return <Button {...rest} disabled={rest.disabled || !permission} />;
  const why = sentence(permission.reason) || "You may not do this.";
  return (
    <Tooltip text={why}>
      <Button {...rest} onPress={undefined} aria-disabled aria-description={why} />
    </Tooltip>
  );
}

// ButtonLink looks like a button and goes somewhere.
export function ButtonLink({ href, children, icon, look = "plain", size = "m" }: { href: string; children?: ReactNode; icon?: IconName; look?: ButtonProps["look"]; size?: ButtonProps["size"] }) {
  const inside = (
    <>
      {icon && <Icon name={icon} size={size === "s" ? 14 : 16} />}
      {children}
    </>
  );
  // Pages of the console are entered without loading it anew; what the server itself answers is not.
  if (href.startsWith("/auth/") || /^[a-z]+:/.test(href))
    return <a className={styles.button} data-look={look} data-size={size} href={href}>{inside}</a>;
  return <RouterLink className={styles.button} data-look={look} data-size={size} href={href}>{inside}</RouterLink>;
}
