// The latest traces, and which of them to show.

import { element, mark, reconcile, style, write } from "./dom.js";
import { ago, clock, colour, count, counted, duration } from "./format.js";

const table = document.getElementById("traces");
const body = table.tBodies[0];
const note = document.getElementById("traces-note");
const form = document.getElementById("filters");
const problem = document.getElementById("filter-problem");
const empty = document.getElementById("traces-empty");
const pause = document.getElementById("pause");
const LISTED = 25;
const SERVICES_SHOWN = 6;

let reading = false;
let latest = null;

/** The parameters for the API that the address asks for. */
export function parametersOf(query) {
  const wanted = new URLSearchParams({ limit: LISTED });
  for (const name of ["service", "minDuration", "errors", "tag"]) {
    for (const value of query.getAll(name)) if (value) wanted.append(name, value);
  }
  return wanted;
}

/** Sets the form to what the address says. */
export function showFilters(query) {
  const service = query.get("service") ?? "";
  offer([service]);
  form.elements.service.value = service;
  const slowest = query.get("minDuration") ?? "";
  if (![...form.elements.minDuration.options].some(({ value }) => value === slowest)) {
    form.elements.minDuration.append(element("option", {}, slowest));
  }
  form.elements.minDuration.value = slowest;
  form.elements.errors.checked = query.get("errors") === "true";
  form.elements.tag.value = query.get("tag") ?? "";
  problem.hidden = true;
  latest = null;
}

/** Says why the filters cannot be used. */
export function showProblem(message) {
  write(problem, message);
  problem.hidden = false;
  table.hidden = empty.hidden = true;
}

/** Shows the newest traces, unless someone is reading the list. */
export function showTraces(traces, services) {
  offer(services);
  if (!problem.hidden) return;
  const first = latest === null;
  latest = traces;
  if (first || !held()) draw();
  refreshTimes();
  say();
}

function held() {
  return pause.getAttribute("aria-pressed") === "true" || reading;
}

function draw() {
  const filtered = [...new FormData(form).values()].some((value) => value);
  table.hidden = latest.length === 0;
  empty.hidden = latest.length > 0;
  write(document.getElementById("traces-empty-title"), filtered ? "No trace matches these filters." : "No traces yet.");
  document.getElementById("clear-filters").hidden = !filtered;
  const longest = Math.max(...latest.map((trace) => trace.durationMs), 0.001);
  reconcile(body, latest, (trace) => trace.traceId, create, (row, trace) => update(row, trace, longest));
}

function say() {
  const paused = pause.getAttribute("aria-pressed") === "true";
  write(note, paused ? "paused" : reading && latest?.length ? "holding still while you read" : "");
}

function create(trace) {
  const link = element("a", { class: "row-link", href: `#/trace/${trace.traceId}` },
    element("span", { class: "root-service" }), " ", element("span", { class: "root-name" }));
  const bar = element("span", { class: "bar" });
  const row = element("tr", {},
    element("td", {}, link),
    element("td", {}, element("span", { class: "chips" })),
    element("td", { class: "num" }),
    element("td", { class: "num" }, element("span", { class: "errors" })),
    element("td", { class: "duration" }, element("span", { class: "track" }, bar), element("span", { class: "value" })),
    element("td", { class: "num muted" }, element("time", { datetime: trace.start, title: clock(trace.start) })));
  return row;
}

function update(row, trace, longest) {
  const [root, services, spans, errors, time] = row.cells;
  write(root.querySelector(".root-service"), trace.root.service);
  write(root.querySelector(".root-name"), trace.root.name);
  const chips = services.firstChild;
  reconcile(chips, trace.services.slice(0, SERVICES_SHOWN), ({ name }) => name,
    ({ name }) => element("span", { class: "chip", "--colour": colour(name) }, element("i", { class: "dot" }), element("span", { class: "name" }, name)),
    (chip, { name, spans: of }) => mark(chip, "title", `${name}: ${counted(of, "span")}`));
  const more = trace.services.length - SERVICES_SHOWN;
  mark(chips, "data-more", more > 0 ? `+${more}` : null);
  write(spans, count(trace.spans));
  write(errors.firstChild, trace.errors ? count(trace.errors) : "–");
  mark(errors.firstChild, "data-level", trace.errors ? "high" : "none");
  mark(row, "class", trace.errors ? "failed" : null);
  style(time.querySelector(".bar"), "width", `${Math.max(0.5, (trace.durationMs / longest) * 100).toFixed(1)}%`);
  write(time.querySelector(".value"), duration(trace.durationMs));
}

function refreshTimes() {
  const now = Date.now();
  for (const time of body.querySelectorAll("time")) write(time, ago(Date.parse(time.dateTime), now));
}

/** Adds services to the choice; one that went quiet can still be asked for. */
function offer(services) {
  const select = form.elements.service;
  const known = new Set([...select.options].map(({ value }) => value));
  for (const name of services.filter((name) => !known.has(name))) {
    const option = element("option", { value: name }, name);
    const after = [...select.options].slice(1).find(({ value }) => value > name);
    select.insertBefore(option, after ?? null);
  }
}

function go() {
  const query = new URLSearchParams();
  for (const [name, value] of new FormData(form)) if (value) query.set(name, name === "errors" ? "true" : value.trim());
  location.hash = query.size ? `#/?${query}` : "#/";
}

form.addEventListener("change", go);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  go();
});
document.getElementById("clear-filters").addEventListener("click", () => {
  location.hash = "#/";
});
pause.addEventListener("click", () => {
  const pressed = pause.getAttribute("aria-pressed") !== "true";
  mark(pause, "aria-pressed", String(pressed));
  write(pause, pressed ? "Resume" : "Pause");
  if (latest && !held()) draw();
  say();
});

function read(now) {
  if (reading === now) return;
  reading = now;
  if (latest && !held()) {
    draw();
    refreshTimes();
  }
  say();
}
body.addEventListener("pointerenter", () => read(true));
body.addEventListener("pointerleave", () => read(body.contains(document.activeElement)));
body.addEventListener("focusin", () => read(true));
body.addEventListener("focusout", (event) => read(body.contains(event.relatedTarget) || body.matches(":hover")));
