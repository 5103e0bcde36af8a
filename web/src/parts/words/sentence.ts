// sentence begins with a capital, unless it begins with a name or a path.
export function sentence(text: string): string {
  return /^[a-z]+(?:[ ,:]|$)/.test(text) ? text.charAt(0).toUpperCase() + text.slice(1) : text;
}
