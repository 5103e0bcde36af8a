import { useId, type ReactNode, type Ref } from "react";
import { Icon } from "../icon/Icon";
import styles from "./Field.module.css";

export interface TextFieldProps {
  label: string;
  name?: string;
  value?: string;
  onChange?: (value: string) => void;
  type?: "text" | "password";
  help?: ReactNode;
  error?: string;
  placeholder?: string;
  mono?: boolean;
  autoFocus?: boolean;
  autoComplete?: string;
  required?: boolean;
  hideLabel?: boolean;
}

export function TextField({ label, help, error, mono, hideLabel, onChange, required, ...rest }: TextFieldProps) {
  const id = useId();
  const told = [help && `${id}-help`, error && `${id}-error`].filter(Boolean).join(" ");
  return (
    <div className={styles.field}>
      <label htmlFor={id} className={hideLabel ? "unseen" : styles.label}>{label}</label>
      <input id={id} className={mono ? `${styles.input} mono` : styles.input} spellCheck={false} aria-required={required} aria-invalid={error ? true : undefined} aria-describedby={told || undefined} data-autofocus={rest.autoFocus ? "" : undefined} onChange={(event) => onChange?.(event.target.value)} {...rest} />
      {help && <span id={`${id}-help`} className={styles.help}>{help}</span>}
      {error && <span id={`${id}-error`} className={styles.error} role="alert">{error}</span>}
    </div>
  );
}

// SearchField is emptied by Escape; only an empty one lets go of the focus.
export function SearchField({ label, value, onChange, placeholder, keys, ref }: { label: string; value: string; onChange: (value: string) => void; placeholder?: string; keys?: string; ref?: Ref<HTMLInputElement> }) {
  return (
    <div className={styles.search}>
      <Icon name="search" size={14} />
      <input
        ref={ref}
        type="search"
        className={styles.searchInput}
        aria-label={label}
        value={value}
        placeholder={placeholder ?? label}
        spellCheck={false}
        autoComplete="off"
        onChange={(event) => onChange(event.target.value)}
        onKeyDown={(event) => {
          if (event.key !== "Escape") return;
          event.preventDefault();
          event.stopPropagation();
          if (value) onChange("");
          else event.currentTarget.blur();
        }}
      />
      {value ? (
        <button type="button" className={styles.clear} aria-label="Clear search" tabIndex={-1} onClick={(event) => (onChange(""), event.currentTarget.parentElement?.querySelector("input")?.focus())}><Icon name="close" size={12} /></button>
      ) : (
        keys && <kbd>{keys}</kbd>
      )}
    </div>
  );
}

export function Checkbox({ checked, some, onChange, label, children }: { checked: boolean; some?: boolean; onChange: (checked: boolean) => void; label?: string; children?: ReactNode }) {
  return (
    <label className={styles.checkbox}>
      <input
        type="checkbox"
        checked={checked}
        aria-label={label}
        ref={(input) => {
          if (input) input.indeterminate = !!some;
        }}
        onChange={(event) => onChange(event.target.checked)}
      />
      {children}
    </label>
  );
}

export function Switch({ on, onChange, children }: { on: boolean; onChange: (on: boolean) => void; children: ReactNode }) {
  return (
    <label className={styles.switch}>
      <input type="checkbox" role="switch" checked={on} onChange={(event) => onChange(event.target.checked)} />
      {children}
    </label>
  );
}

// Choice is a short row of which one is chosen, such as Table | Tiles.
export function Choice<T extends string>({ label, value, options, onChange }: { label: string; value: T; options: readonly { id: T; label: ReactNode; text?: string }[]; onChange: (value: T) => void }) {
  return (
    <div className={styles.choice} role="radiogroup" aria-label={label}>
      {options.map((option, i) => (
        <button
          key={option.id}
          type="button"
          role="radio"
          aria-checked={option.id === value}
          aria-label={option.text}
          title={option.text}
          tabIndex={option.id === value ? 0 : -1}
          onClick={() => onChange(option.id)}
          onKeyDown={(event) => {
            const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
            if (!step) return;
            event.preventDefault();
            const next = (i + step + options.length) % options.length;
            onChange(options[next]!.id);
            (event.currentTarget.parentElement?.children[next] as HTMLElement | undefined)?.focus();
          }}
        >
          {option.label}
        </button>
      ))}
    </div>
  );
}
