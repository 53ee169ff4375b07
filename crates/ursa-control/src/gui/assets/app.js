// What the address says is what is shown: `#/` with filters is the overview, `#/trace/<id>[/<span>]` one trace.

import { follow } from "./api.js";
import { mark, write } from "./dom.js";
import { bytes, counted, rate } from "./format.js";
import { showServices } from "./services.js";
import { parametersOf, showFilters, showProblem, showTraces } from "./traces.js";
import { leaveTrace, showTrace } from "./waterfall.js";

const overview = document.getElementById("overview");
const trace = document.getElementById("trace");
const connection = document.getElementById("connection");
const WORDS = { live: "Live", reconnecting: "Reconnecting" };

let unfollow = () => {};
let following = null;

function state(now) {
  mark(connection, "data-state", now);
  write(connection, WORDS[now]);
}

function followWith(parameters) {
  if (String(parameters) === following) return;
  unfollow();
  following = String(parameters);
  unfollow = follow(parameters, {
    news,
    state,
    refused(message) {
      following = null;
      showProblem(message);
      // Without the filters there is still news of the services.
      if (parameters.size > 1) followWith(new URLSearchParams({ limit: 1 }));
    },
  });
}

function news(data) {
  write(document.getElementById("spans-rate"), rate(data.spansPerSecond));
  showServices(data.services);
  if (!overview.hidden) showTraces(data.traces, data.services.map(({ name }) => name));
  const left = data.evictedTraces ? ` · ${counted(data.evictedTraces, "older trace")} made room` : "";
  write(document.getElementById("window-note"),
    `${counted(data.tracesHeld, "trace")} with ${counted(data.spansHeld, "span")} in memory · ${bytes(data.bytesHeld)} of ${bytes(data.bytesLimit)}${left}`);
  document.getElementById("window-meter").value = data.bytesHeld / data.bytesLimit;
}

function route() {
  const [path, query = ""] = location.hash.replace(/^#/, "").split("?");
  const [, page, id, span] = path.split("/");
  const one = page === "trace" && id;
  overview.hidden = Boolean(one);
  trace.hidden = !one;
  if (one) {
    showTrace(decodeURIComponent(id), span && decodeURIComponent(span));
    followWith(new URLSearchParams({ limit: 1 }));
    return;
  }
  leaveTrace();
  document.title = "Ursa";
  const filters = new URLSearchParams(query);
  showFilters(filters);
  followWith(parametersOf(filters));
}

addEventListener("hashchange", (event) => {
  const page = (url) => new URL(url).hash.split(/[/?]/)[1] ?? "";
  route();
  if (page(event.oldURL) !== page(event.newURL)) scrollTo(0, 0);
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  document.getElementById("main").focus();
});
route();
