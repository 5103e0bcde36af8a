import { type ReactNode, type Ref } from "react";
import { Button, FieldError, Input, Label, SearchField as AriaSearchField, Text, TextField as AriaTextField } from "react-aria-components";
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

export function TextField({ label, help, error, placeholder, mono, required, hideLabel, ...rest }: TextFieldProps) {
  return (
    <AriaTextField className={styles.field} isInvalid={!!error} isRequired={required} validationBehavior="aria" {...rest}>
      <Label className={hideLabel ? "unseen" : styles.label}>{label}</Label>
      <Input className={mono ? `${styles.input} mono` : styles.input} placeholder={placeholder} spellCheck={false} />
      {help && <Text slot="description" className={styles.help}>{help}</Text>}
      <FieldError className={styles.error}>{error}</FieldError>
    </AriaTextField>
  );
}

export function SearchField({ label, value, onChange, placeholder, keys, ref, onSubmit }: { label: string; value: string; onChange: (value: string) => void; placeholder?: string; keys?: string; ref?: Ref<HTMLInputElement>; onSubmit?: () => void }) {
  return (
    <AriaSearchField className={styles.search} aria-label={label} value={value} onChange={onChange} onSubmit={onSubmit}>
      <Icon name="search" size={14} />
      <Input className={styles.searchInput} ref={ref} placeholder={placeholder ?? label} spellCheck={false} autoComplete="off" />
      {value ? (
        <Button className={styles.clear}><Icon name="close" size={12} /></Button>
      ) : (
        keys && <kbd>{keys}</kbd>
      )}
    </AriaSearchField>
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
