// shortDuration leaves out what is nothing: "1h0m0s" is "1h".
export function shortDuration(duration: string): string {
  return duration.replace(/(?<=[hm])0[ms](?=\d|$)/g, "").replace(/(?<=h)0s$/, "");
}
