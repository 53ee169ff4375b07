// All that is known of one span.

import { element } from "./dom.js";
import { colour, duration } from "./format.js";

/** Fills `pane` with a span's details. */
export function showSpan(pane, span) {
  const failed = span.error ? element("span", { class: "badge" }, "failed") : null;
  pane.replaceChildren(
    element("header", { "--colour": colour(span.service) },
      element("h2", {}, element("i", { class: "dot" }), element("span", {}, span.name)),
      element("p", { class: "muted" }, span.service, " · ", span.kind, failed ? " " : null, failed)),
    element("dl", { class: "facts" },
      fact("Duration", duration(span.durationMs)), fact("Starts at", `+${duration(span.startMs)}`), fact("Status", span.status)),
    ...[
      span.statusMessage ? element("p", { class: "problem" }, span.statusMessage) : null,
      section("Attributes", span.attributes, true),
      ...(span.events ?? []).map((event) => section(`Event: ${event.name}, +${duration(event.atMs)}`, event.attributes, true)),
      section("Resource", span.resource, true),
      section("Identity", { "span id": span.spanId, "parent span id": span.parentSpanId ?? "none" }, true),
    ].filter(Boolean));
}

function fact(name, value) {
  return element("div", {}, element("dt", {}, name), element("dd", {}, value));
}

function section(title, values, open) {
  const entries = Object.entries(values).sort(([a], [b]) => (a < b ? -1 : 1));
  if (!entries.length) return null;
  return element("details", { open },
    element("summary", {}, title, element("span", { class: "muted" }, ` ${entries.length}`)),
    element("table", { class: "attributes" }, element("tbody", {}, ...entries.map(([key, value]) =>
      element("tr", {}, element("th", { scope: "row" }, key), element("td", { "data-type": typeof value }, textOf(value)))))));
}

function textOf(value) {
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
