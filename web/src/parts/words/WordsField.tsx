import { useEffect, useRef, useState, type Ref } from "react";
import { SearchField } from "../field/Field";

// How long somebody stops writing before the server is asked.
const pause = 160;

// WordsField is a search field whose words are asked for when somebody stops
// writing for a moment.
export function WordsField({ label, placeholder, words, onWords, field }: { label: string; placeholder: string; words: string; onWords: (words: string) => void; field?: Ref<HTMLInputElement> }) {
  const [written, setWritten] = useState(words);
  const latest = useRef(onWords);
  latest.current = onWords;
  const sent = useRef(words);
  useEffect(() => {
    if (words !== sent.current) setWritten(words);
    sent.current = words;
  }, [words]);
  useEffect(() => {
    if (written === sent.current) return;
    const timer = setTimeout(() => {
      sent.current = written;
      latest.current(written);
    }, pause);
    return () => clearTimeout(timer);
  }, [written]);
  return <SearchField label={label} placeholder={placeholder} keys="/" value={written} onChange={setWritten} ref={field} />;
}
