// Why the delivery is as it is. When something is wrong, it is the first thing
// on the page; otherwise it is one line.
import { pathOf, keyOf } from "~/api/refs";
import type { ExplainResponse } from "~/gen/plumb/v1/deliveries_pb";
import type { Answer } from "~/api/useCall";
import { CopyButton } from "~/parts/copy/CopyButton";
import { DiffView } from "~/parts/diff/DiffView";
import { Icon, type IconName } from "~/parts/icon/Icon";
import { ObjectName } from "~/parts/object/ObjectName";
import { Revision } from "~/parts/revision/Revision";
import { HealthMark } from "~/parts/state/State";
import { Bone, TroubleState } from "~/parts/states/States";
import { sentence } from "~/parts/words/sentence";
import { CommitWords } from "../header/Header";
import { useAddress } from "../address";
import { chainOf, headOf, isToldAbove, needsAttention, titleOf, toneOf, type ChainStep } from "./explanation";
import { linkToSource } from "./sourcelink";
import styles from "./Explanation.module.css";

const icons: Record<string, IconName> = { good: "check", busy: "clock", warn: "warning", bad: "error", idle: "info" };

export function Explanation({ answer, expected }: { answer: Answer<ExplainResponse>; expected: boolean }) {
  const { data, trouble, refresh } = answer;
  if (!data && trouble) return <section className={styles.explanation}><TroubleState trouble={trouble} retry={() => void refresh()} /></section>;
  if (!data) return <Waiting tall={expected} />;
  const tone = toneOf(data.state);
  if (!needsAttention(data.state))
    return (
      <section className={styles.line} data-tone={tone} aria-label="Why">
        <Icon name={icons[tone]!} />
        <p>{data.headline}</p>
      </section>
    );
  return isToldAbove(data) ? null : <Full explained={data} />;
}

function Full({ explained }: { explained: ExplainResponse }) {
  const tone = toneOf(explained.state);
  const steps = chainOf(explained);
  const [head, rest] = headOf(explained.headline);
  return (
    <section className={styles.explanation} data-tone={tone} aria-label="Why">
      <header>
        <span className={styles.sign}><Icon name={icons[tone]!} size={18} /></span>
        <div>
          <p className={styles.over}>{titleOf(explained.state)}</p>
          <h2>{head}</h2>
          {rest && <p className={styles.rest}>{sentence(rest)}</p>}
        </div>
      </header>
      {(steps.length > 0 || explained.advice.length > 0) && (
        <div className={styles.body}>
          {steps.length > 0 && (
            <ol className={styles.chain} aria-label="From what is seen to the root cause">
              {steps.map((step, i) => <StepLine key={i} step={step} explained={explained} />)}
            </ol>
          )}
          {explained.advice.length > 0 && (
            <div className={styles.advice}>
              <h3>What to do next</h3>
              <ul>{explained.advice.map((text, i) => <li key={text}><Icon name="right" size={14} /><span>{sentence(i === 0 ? text.replace(/^or /i, "") : text)}</span></li>)}</ul>
            </div>
          )}
        </div>
      )}
      {explained.drift && <div className={styles.drift}><DiffView diff={explained.drift} label="How it differs" /></div>}
      {(explained.commit || explained.file || explained.writers.length > 0) && <Origin explained={explained} told={steps.some((step) => step.file === explained.file)} />}
    </section>
  );
}

function StepLine({ step, explained }: { step: ChainStep; explained: ExplainResponse }) {
  const address = useAddress();
  // The page of the delivery is this one: its link would lead nowhere.
  const other = step.object && keyOf(step.object) !== keyOf(explained.owner);
  const href = step.object && (pathOf(step.object) ?? address.href({ object: keyOf(step.object) }));
  return (
    <li data-root={step.root || undefined}>
      <span className={styles.mark}>{step.health?.state ? <HealthMark state={step.health.state} /> : <i />}</span>
      <div>
        {step.root && <p className={styles.root}>Root cause</p>}
        {step.text && <p className={styles.text}>{sentence(step.text)}</p>}
        {(other || step.file) && (
          <p className={styles.links}>
            {other && <ObjectName of={step.object!} href={href} home={explained.owner?.namespace} />}
            {step.file && <FilePlace url={explained.url} revision={explained.revision} commit={explained.commit?.hash} file={step.file} line={step.line} />}
          </p>
        )}
      </div>
    </li>
  );
}

function Origin({ explained, told }: { explained: ExplainResponse; told: boolean }) {
  const { commit, revision, revisionUrl, url, file, line, writers } = explained;
  const page = revisionUrl || linkToSource({ url, revision, commit: commit?.hash });
  return (
    <footer className={styles.origin}>
      {commit && (
        <p>
          <span className="quiet">Wanted by</span>
          <Revision revision={revision} url={page} icon />
          <CommitWords commit={commit} />
        </p>
      )}
      {file && !told && <p><span className="quiet">in</span><FilePlace url={url} revision={revision} commit={commit?.hash} file={file} line={line} /></p>}
      {writers.length > 0 && <p><span className="quiet">Also managed by</span>{writers.join("; ")}</p>}
    </footer>
  );
}

// FilePlace is a line of the source: linked where its host is known, to be copied otherwise.
export function FilePlace({ url, revision, commit, file, line }: { url: string; revision: string; commit?: string; file: string; line: number }) {
  const words = line > 0 ? `${file}:${line}` : file;
  const href = linkToSource({ url, revision, commit, file, line });
  return (
    <span className={styles.place}>
      <Icon name="file" size={14} />
      {href ? <a className="link" href={href} target="_blank" rel="noreferrer"><code>{words}</code></a> : <><code>{words}</code><CopyButton text={words} what="Copy the place" /></>}
    </span>
  );
}

function Waiting({ tall }: { tall: boolean }) {
  if (!tall) return <div className={styles.line}><Bone width={16} height={16} /><Bone width="44%" /></div>;
  return (
    <section className={styles.explanation} role="status" aria-label="Finding out why">
      <header><Bone width={34} height={34} /><div className={styles.wait}><Bone width={110} /><Bone width="60%" height={16} /></div></header>
      <div className={styles.body}><div className={styles.waitChain}>{[70, 58, 64].map((w) => <Bone key={w} width={`${w}%`} height={14} />)}</div></div>
    </section>
  );
}
