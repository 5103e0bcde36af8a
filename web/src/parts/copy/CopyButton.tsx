import { useEffect, useState } from "react";
import { announce } from "../announce/announce";
import { IconButton } from "../button/Button";
import { toast } from "../toast/toast";

// CopyButton puts text onto the clipboard; what says what it is: "Copy revision".
export function CopyButton({ text, what = "Copy" }: { text: string; what?: string }) {
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return;
    const timer = setTimeout(() => setCopied(false), 1_500);
    return () => clearTimeout(timer);
  }, [copied]);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Browsers give no clipboard to pages that came without TLS, or were refused it.
      return toast({ tone: "bad", title: "The browser does not let this page copy", detail: text });
    }
    setCopied(true);
    announce("Copied");
  };
  return <IconButton icon={copied ? "check" : "copy"} size="s" label={copied ? "Copied" : what} onPress={() => void copy()} />;
}
