import { timestampDate, type Timestamp } from "@bufbuild/protobuf/wkt";
import { exactTime, useAgo } from "./clock";

// TimeAgo is "4m", with the exact time on hover; suffix is " ago" where a sentence wants it.
export function TimeAgo({ time, suffix = "" }: { time: Timestamp | undefined; suffix?: string }) {
  const words = useAgo(time);
  if (!time) return <span className="quiet">–</span>;
  return (
    <time className="numbers" dateTime={timestampDate(time).toISOString()} title={exactTime(time)}>
      {words}
      {words !== "now" && suffix}
    </time>
  );
}
