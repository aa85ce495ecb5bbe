// The service, as the page calls it.

/** What the service refused, with the setting that was wrong and what is allowed. */
export class Refusal extends Error {
  constructor(message, status = 0, field = null, allowed = null) {
    super(message);
    Object.assign(this, { status, field, allowed });
  }
}

const pause = (seconds, signal) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, 1000 * seconds);
    signal?.addEventListener("abort", () => { clearTimeout(timer); reject(signal.reason); }, { once: true });
  });

async function refusal(answer) {
  let said = {};
  try {
    said = (await answer.json()).error ?? {};
  } catch {
    // no JSON: a proxy answered
  }
  return new Refusal(said.message ?? `The service answered ${answer.status} ${answer.statusText}.`, answer.status, said.field, said.allowed);
}

/** One request. A busy service (429) is asked again, a few times, as late as it says. */
async function call(method, path, body, signal, tries = 4) {
  const options = { method, signal, headers: { Accept: "application/json" }, credentials: "same-origin" };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal("The service does not answer. Is it still running?");
  }
  if (answer.status === 429 && tries > 1) {
    await pause(Math.min(5, Number(answer.headers.get("Retry-After")) || 1), signal);
    return call(method, path, body, signal, tries - 1);
  }
  if (answer.status === 401) {
    location.assign(`/sign-in?to=${encodeURIComponent(location.pathname + location.search + location.hash)}`);
    throw new Refusal("Sign in first.", 401);
  }
  if (!answer.ok) throw await refusal(answer);
  return answer.status === 204 ? null : answer.json();
}

export const get = (path, signal) => call("GET", path, undefined, signal);
export const post = (path, body = {}, signal) => call("POST", path, body, signal);
export const del = (path) => call("DELETE", path);

/** A function that asks for the newest wish alone: one request is under way, those that came meanwhile are left out but for the last. */
export function newest(ask) {
  let busy = false;
  let waiting = null;
  return async function wish(...what) {
    waiting = what;
    if (busy) return;
    busy = true;
    try {
      while (waiting) {
        const now = waiting;
        waiting = null;
        await ask(...now);
      }
    } finally {
      busy = false;
    }
  };
}

/** Server-sent events of the address that `place()` gives: `handlers` by name; `tell` hears "live", "lost", "ended". Comes back by itself. */
export function listen(place, handlers, tell = () => {}) {
  let source = null;
  let timer = 0;
  let wait = 1;
  let ended = false;
  function open() {
    source = new EventSource(place());
    source.addEventListener("open", () => { wait = 1; tell("live"); });
    for (const [name, handle] of Object.entries(handlers)) {
      source.addEventListener(name, (event) => handle(JSON.parse(event.data)));
    }
    source.addEventListener("error", () => {
      source.close();
      if (ended) return;
      tell("lost");
      clearTimeout(timer);
      timer = setTimeout(open, 1000 * wait);
      wait = Math.min(15, 2 * wait);
    });
  }
  open();
  return function close() {
    ended = true;
    clearTimeout(timer);
    source.close();
    tell("ended");
  };
}
