// The table of services.

import { drawing, element, mark, reconcile, style, write } from "./dom.js";
import { colour, duration, rate, share } from "./format.js";

const table = document.getElementById("services");
const empty = document.getElementById("services-empty");
const waiting = document.getElementById("services-waiting");

/** Shows what the live stream says of the services. */
export function showServices(services) {
  waiting.hidden = true;
  table.hidden = services.length === 0;
  empty.hidden = services.length > 0;
  reconcile(table.tBodies[0], services, (service) => service.name, create, update);
}

function create(service) {
  const name = element("a", { class: "service", "--colour": colour(service.name) }, element("i", { class: "dot" }), element("span", { class: "name" }, service.name));
  name.href = `#/?${new URLSearchParams({ service: service.name })}`;
  name.title = `Show the traces of ${service.name}`;
  const number = (...children) => element("td", { class: "num" }, ...children);
  return element("tr", {},
    element("th", { scope: "row" }, name),
    number(), number(element("span", { class: "errors" })), number(), number(), number(),
    element("td", { class: "spark-cell" }, spark()));
}

function update(row, service) {
  const [, requests, errors, p50, p95, p99, history] = row.cells;
  write(requests, rate(service.requestsPerSecond));
  const idle = service.requestsPerSecond === 0;
  write(errors.firstChild, idle ? "–" : share(service.errorRatio));
  mark(errors.firstChild, "data-level", service.errorRatio >= 0.05 ? "high" : service.errorRatio > 0 ? "some" : "none");
  write(p50, duration(service.p50));
  write(p95, duration(service.p95));
  write(p99, duration(service.p99));
  mark(row, "class", idle ? "idle" : null);
  style(row, "--colour", colour(service.name));
  drawSpark(history.firstChild, service.history ?? []);
}

const WIDTH = 180;
const HEIGHT = 30;

function spark() {
  return drawing("svg", { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" },
    drawing("path", { class: "area" }), drawing("path", { class: "line" }), drawing("path", { class: "fault" }));
}

/** Requests a second as a line, failed ones as bars on the ground. */
function drawSpark(svg, history) {
  const most = Math.max(1, ...history.map(([requests]) => requests));
  const x = (index) => (index / Math.max(1, history.length - 1)) * WIDTH;
  const y = (value) => HEIGHT - 2 - (value / most) * (HEIGHT - 5);
  const points = history.map(([requests], index) => `${x(index).toFixed(1)} ${y(requests).toFixed(1)}`).join("L");
  const faults = history
    .map(([, errors], index) => (errors ? `M${x(index).toFixed(1)} ${HEIGHT}V${y(errors).toFixed(1)}` : ""))
    .join("");
  const [area, line, fault] = svg.children;
  mark(line, "d", points && `M${points}`);
  mark(area, "d", points && `M0 ${HEIGHT}L${points}L${WIDTH} ${HEIGHT}Z`);
  mark(fault, "d", faults);
  mark(svg, "aria-label", `At most ${most} requests a second in the last minute`);
}
