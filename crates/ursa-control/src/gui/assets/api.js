// Asking the control plane.

import { element } from "./dom.js";

/** An answer that is an error, with the words of its problem document. */
export class Problem extends Error {
  constructor(status, body) {
    const reasons = (body?.invalid_parameters ?? []).map(({ field, reason }) => `${field}: ${reason}`);
    super(reasons.join("; ") || body?.detail || body?.title || `The control plane answered ${status}.`);
    this.status = status;
  }
}

/** The JSON at `path`. */
export async function ask(path) {
  return (await answer(path)).json();
}

async function answer(path, signal) {
  const token = sessionStorage.getItem("ursa.token");
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  const response = await fetch(path, { headers, signal });
  if (response.ok) return response;
  if (response.status === 401) {
    await askForToken();
    return answer(path, signal);
  }
  throw new Problem(response.status, await response.json().catch(() => null));
}

let asking = null;

/** Opens the dialog once, however many requests wait for it. */
function askForToken() {
  asking ??= new Promise((resolve) => {
    const dialog = document.getElementById("token");
    dialog.addEventListener("close", () => {
      const field = dialog.querySelector("input");
      sessionStorage.setItem("ursa.token", field.value.trim());
      field.value = "";
      asking = null;
      resolve();
    }, { once: true });
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    dialog.showModal();
  });
  return asking;
}

const FIRST_WAIT = 500;
const LONGEST_WAIT = 10_000;

/**
 * Tells the news of services and of the traces that `parameters` ask for, until the returned function is called:
 * once at once, then as the stream brings it. `fetch`, not EventSource: it can carry a token, and tells a refusal
 * from a broken connection.
 */
export function follow(parameters, { news, state, refused }) {
  const stop = new AbortController();
  const tell = (data) => {
    if (stop.signal.aborted) return;
    state("live");
    news(data);
  };
  (async () => {
    let wait = FIRST_WAIT;
    while (!stop.signal.aborted) {
      try {
        const [services, traces] = await Promise.all([ask("/telemetry/services"), ask(`/telemetry/traces?${parameters}`)]);
        tell({ ...services, ...traces });
        const stream = await answer(`/telemetry/live?${parameters}`, stop.signal);
        for await (const data of events(stream.body)) {
          wait = FIRST_WAIT;
          tell(JSON.parse(data));
        }
      } catch (error) {
        if (!stop.signal.aborted && error instanceof Problem && error.status === 400) {
          refused(error.message);
          return;
        }
      }
      if (stop.signal.aborted) return;
      state("reconnecting");
      await new Promise((resolve) => setTimeout(resolve, wait * (0.75 + Math.random() / 2)));
      wait = Math.min(wait * 2, LONGEST_WAIT);
    }
  })();
  return () => stop.abort();
}

/** The data of each event in a `text/event-stream`. */
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let pending = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      pending += value;
      for (let end; (end = pending.indexOf("\n\n")) >= 0; pending = pending.slice(end + 2)) {
        const lines = pending.slice(0, end).split("\n").filter((line) => line.startsWith("data:"));
        if (lines.length) yield lines.map((line) => line.slice(5).trimStart()).join("\n");
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** Lets the browser save a text as a file. */
export async function download(path, name) {
  const blob = await (await answer(path)).blob();
  const url = URL.createObjectURL(blob);
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
