// One trace: its spans as a tree over time.

import { Problem, ask, download } from "./api.js";
import { element, mark, write } from "./dom.js";
import { clock, colour, count, counted, duration } from "./format.js";
import { showSpan } from "./span.js";

const page = document.getElementById("trace");
/** More rows than this say nothing to anyone; the rest is in the download. */
const ROWS = 2000;
const DEEPEST_INDENT = 16;
/** Spans still on their way when a trace is opened are looked for after so many milliseconds. */
const LOOK_AGAIN = [1000, 2000, 4000];

let shown = null;
let overviewHash = "#/";

/** Shows a trace, with a span of it selected. */
export async function showTrace(id, span) {
  if (shown?.id === id) {
    if (span && span !== shown.selected) select(span);
    return;
  }
  leaveTrace();
  shown = { id, selected: span, rows: new Map(), collapsed: new Set(), timers: [] };
  const mine = shown;
  page.replaceChildren(element("p", { class: "empty", role: "status" }, "Fetching the trace …"));
  await fetchTrace(mine);
  for (const after of LOOK_AGAIN) mine.timers.push(setTimeout(() => fetchTrace(mine), after));
}

/** Forgets the trace that is shown. */
export function leaveTrace() {
  shown?.timers.forEach(clearTimeout);
  shown = null;
  if (!location.hash.startsWith("#/trace/")) overviewHash = location.hash || "#/";
}

async function fetchTrace(mine) {
  try {
    const trace = await ask(`/telemetry/traces/${encodeURIComponent(mine.id)}`);
    if (mine !== shown || trace.spans.length === mine.trace?.spans.length) return;
    mine.trace = trace;
    draw();
  } catch (error) {
    if (mine !== shown || mine.trace) return;
    const missing = error instanceof Problem && error.status === 404;
    document.title = "Ursa";
    page.replaceChildren(back(), element("section", { class: "card" }, element("div", { class: "empty" },
      element("p", {}, element("strong", {}, missing ? "This trace is not here." : "The trace could not be fetched.")),
      element("p", { class: "muted" }, missing
        ? "It may have made room for newer ones, was not sampled, or its spans are still on their way."
        : error.message),
      element("p", {}, element("code", {}, mine.id)))));
  }
}

function back() {
  return element("nav", { class: "back" }, element("a", { href: overviewHash }, "← Latest traces"));
}

function draw() {
  const { trace } = shown;
  document.title = `${trace.root.service} ${trace.root.name} · Ursa`;
  const spans = trace.spans.slice(0, ROWS);
  const tree = element("div", { role: "tree", class: "tree", "aria-label": "Spans", onkeydown: onKey, onclick: onClick });
  shown.rows = new Map();
  spans.forEach((span, index) => {
    const row = rowOf(span, spans[index + 1]?.depth > span.depth, trace);
    tree.append(row);
    if (!shown.rows.has(span.spanId)) shown.rows.set(span.spanId, row);
    row.span = span;
  });
  shown.details = element("aside", { class: "card span", "aria-label": "The selected span" });
  page.replaceChildren(back(), headOf(trace), element("div", { class: "split" },
    element("section", { class: "card waterfall", "aria-label": "Waterfall" }, axis(trace), tree,
      trace.spans.length > ROWS ? element("p", { class: "muted more" }, `The first ${count(ROWS)} of ${counted(trace.spans.length, "span")}; the download has all.`) : null),
    shown.details));
  fold();
  // Errors travel up: the deepest failed span is nearest to where it broke.
  const first = spans.reduce((best, span) => (span.error && (!best.error || span.depth > best.depth) ? span : best), spans[0]);
  if (first) select(shown.rows.has(shown.selected) ? shown.selected : first.spanId);
}

function headOf(trace) {
  const fact = (name, value, level) =>
    element("div", {}, element("dt", {}, name), element("dd", { "data-level": level }, value));
  const copy = element("button", { class: "quiet", type: "button", title: "Copy the trace id", async onclick() {
    await navigator.clipboard?.writeText(trace.traceId).catch(() => {});
    write(copy, "Copied");
    setTimeout(() => write(copy, "Copy id"), 1500);
  } }, "Copy id");
  const save = element("button", { class: "quiet", type: "button", title: "The trace as OTLP JSON",
    onclick: () => download(`/telemetry/traces/${trace.traceId}?format=otlp`, `${trace.traceId}.json`) }, "Download");
  return element("header", { class: "trace-head" },
    element("h1", { "--colour": colour(trace.root.service) },
      element("i", { class: "dot" }), " ", element("span", { class: "root-service" }, trace.root.service), " ", element("span", { class: "root-name" }, trace.root.name)),
    element("dl", { class: "facts" },
      fact("Duration", duration(trace.durationMs)),
      fact("Spans", count(trace.spans.length)),
      fact("Errors", trace.errors ? count(trace.errors) : "none", trace.errors ? "high" : "none"),
      fact("Started", clock(trace.start))),
    element("div", { class: "trace-id" }, element("code", {}, trace.traceId), copy, save),
    element("ul", { class: "legend", "aria-label": "Services" }, ...trace.services.map(({ name, spans }) =>
      element("li", { class: "chip", "--colour": colour(name) }, element("i", { class: "dot" }), element("span", { class: "name" }, name), element("span", { class: "muted" }, count(spans))))));
}

const TICKS = 4;

function axis(trace) {
  const ticks = Array.from({ length: TICKS + 1 }, (_, index) => {
    const at = index / TICKS;
    return element("span", { "--at": at, "data-edge": index === TICKS ? "end" : index === 0 ? "start" : null }, index === 0 ? "0" : duration(trace.durationMs * at));
  });
  return element("div", { class: "axis", "aria-hidden": "true" }, element("span", { class: "axis-name" }, "Service and span"), element("div", { class: "ticks" }, ...ticks));
}

function rowOf(span, parent, trace) {
  const whole = trace.durationMs || 1;
  const left = Math.min(100, (span.startMs / whole) * 100);
  const width = Math.min(100 - left, (span.durationMs / whole) * 100);
  const place = left + width < 84 ? "after" : left > 16 ? "before" : "inside";
  const orphan = span.depth === 0 && span.parentSpanId !== null;
  return element("div", {
    role: "treeitem", class: span.error ? "row failed" : "row", tabindex: -1,
    "aria-level": span.depth + 1, "aria-expanded": parent ? "true" : null, "aria-selected": "false",
    "aria-label": `${span.service}: ${span.name}, ${duration(span.durationMs)}${span.error ? ", failed" : ""}`,
    "--colour": colour(span.service), "--depth": Math.min(span.depth, DEEPEST_INDENT),
    "--left": `${left.toFixed(3)}%`, "--width": `${width.toFixed(3)}%`,
  },
  element("div", { class: "label", title: `${span.service}: ${span.name}` },
    element("span", { class: "caret", "aria-hidden": "true" }),
    element("span", { class: "service-name" }, span.service),
    span.error ? element("span", { class: "alert", "aria-hidden": "true" }, "!") : null,
    element("span", { class: "span-name" }, span.name),
    orphan ? element("span", { class: "orphan", title: "Its parent has not arrived" }, "no parent") : null,
    element("span", { class: "folded muted" })),
  element("div", { class: "lane" },
    element("span", { class: "bar" }, place === "inside" ? element("span", { class: "time" }, duration(span.durationMs)) : null),
    place === "inside" ? null : element("span", { class: `time ${place}` }, duration(span.durationMs))));
}

/** Hides what lies under closed rows. */
function fold() {
  let closed = null;
  let hidden = 0;
  const count = () => closed && write(closed.querySelector(".folded"), `+${hidden}`);
  for (const row of page.querySelectorAll(".row")) {
    if (closed && row.span.depth > closed.span.depth) {
      row.hidden = true;
      hidden += 1;
      continue;
    }
    count();
    row.hidden = false;
    const isClosed = shown.collapsed.has(row.span.spanId) && row.hasAttribute("aria-expanded");
    closed = isClosed ? row : null;
    hidden = 0;
    if (row.hasAttribute("aria-expanded")) mark(row, "aria-expanded", String(!isClosed));
    if (!isClosed) write(row.querySelector(".folded"), "");
  }
  count();
}

function toggle(row, open) {
  if (!row.hasAttribute("aria-expanded")) return;
  if (open) shown.collapsed.delete(row.span.spanId);
  else shown.collapsed.add(row.span.spanId);
  fold();
}

function select(spanId, focus) {
  const row = shown.rows.get(spanId);
  if (!row) return;
  choose(row, focus);
}

function choose(row, focus) {
  for (const other of page.querySelectorAll('.row[aria-selected="true"]')) {
    mark(other, "aria-selected", "false");
    other.tabIndex = -1;
  }
  mark(row, "aria-selected", "true");
  row.tabIndex = 0;
  if (focus) {
    row.focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
  }
  const chosen = shown.selected !== row.span.spanId && shown.details.childElementCount > 0;
  shown.selected = row.span.spanId;
  if (chosen) history.replaceState(null, "", `#/trace/${shown.id}/${shown.selected}`);
  showSpan(shown.details, row.span);
}

function onClick(event) {
  const row = event.target.closest(".row");
  if (!row) return;
  if (event.target.closest(".caret")) toggle(row, row.getAttribute("aria-expanded") === "false");
  choose(row, true);
}

function onKey(event) {
  const row = event.target.closest(".row");
  if (!row || event.altKey || event.ctrlKey || event.metaKey) return;
  const visible = [...page.querySelectorAll(".row:not([hidden])")];
  const at = visible.indexOf(row);
  const open = row.getAttribute("aria-expanded");
  let to = null;
  switch (event.key) {
    case "ArrowDown": to = visible[at + 1]; break;
    case "ArrowUp": to = visible[at - 1]; break;
    case "Home": to = visible[0]; break;
    case "End": to = visible.at(-1); break;
    case "ArrowRight":
      if (open === "false") toggle(row, true);
      else if (open === "true") to = visible[at + 1];
      break;
    case "ArrowLeft":
      if (open === "true") toggle(row, false);
      else to = visible.slice(0, at).findLast((other) => other.span.depth < row.span.depth);
      break;
    case "Enter": case " ": to = row; break;
    default: return;
  }
  event.preventDefault();
  if (to) choose(to, true);
}
