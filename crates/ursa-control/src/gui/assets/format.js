// Numbers, times and colours as people read them.

const NUMBER = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** Milliseconds as `840 µs`, `12.3 ms`, `1.24 s`, `2 m 05 s`. */
export function duration(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms === 0) return "0";
  if (ms < 0.9995) return `${Math.round(ms * 1000)} µs`;
  if (ms < 999.5) return `${three(ms)} ms`;
  if (ms < 59_950) return `${three(ms / 1000)} s`;
  const seconds = Math.round(ms / 1000);
  return `${Math.floor(seconds / 60)} m ${String(seconds % 60).padStart(2, "0")} s`;
}

/** Three digits that count. */
function three(value) {
  return value < 9.995 ? value.toFixed(2) : value < 99.95 ? value.toFixed(1) : value.toFixed(0);
}

/** A rate: `0.25`, `18.4`, `1,204`. */
export function rate(value) {
  if (value === 0) return "0";
  return value < 1 ? value.toFixed(2) : value < 100 ? value.toFixed(1) : NUMBER.format(value);
}

/** A share from 0 to 1: `0 %`, `0.04 %`, `2.5 %`, `31 %`. */
export function share(value) {
  if (value === 0) return "0 %";
  const percent = value * 100;
  return `${percent < 0.1 ? "<0.1" : percent < 10 ? percent.toFixed(1) : percent.toFixed(0)} %`;
}

/** A count with separators. */
export function count(value) {
  return NUMBER.format(value);
}

/** `1 span`, `7 spans`. */
export function counted(value, noun) {
  return `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
}

/** Bytes as `640 KiB` or `12.3 MiB`. */
export function bytes(value) {
  if (value < 1 << 20) return `${Math.round(value / 1024)} KiB`;
  const mib = value / (1 << 20);
  return `${mib < 100 && !Number.isInteger(mib) ? mib.toFixed(1) : mib.toFixed(0)} MiB`;
}

/** How long ago a time was, to be read at a glance. */
export function ago(time, now) {
  const seconds = Math.max(0, Math.round((now - time) / 1000));
  if (seconds < 2) return "now";
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ago`;
  return new Date(time).toLocaleDateString("sv-SE");
}

/** A local time to the millisecond, as `2026-08-01 12:00:00.250`. */
export function clock(time) {
  const at = new Date(time);
  const milliseconds = String(at.getMilliseconds()).padStart(3, "0");
  return `${at.toLocaleDateString("sv-SE")} ${at.toLocaleTimeString("sv-SE")}.${milliseconds}`;
}

const COLOURS = 10;
const slots = new Map();
const taken = new Array(COLOURS).fill(0);

/** The colour of a service: the same as long as the page is open, and its own while there are colours left. */
export function colour(service) {
  let slot = slots.get(service);
  if (slot === undefined) {
    let hash = 0;
    for (const char of service) hash = (hash * 31 + char.codePointAt(0)) >>> 0;
    const fewest = Math.min(...taken);
    slot = hash % COLOURS;
    while (taken[slot] > fewest) slot = (slot + 1) % COLOURS;
    taken[slot] += 1;
    if (slots.size < 1000) slots.set(service, slot);
  }
  return `var(--service-${slot})`;
}
