// A button that asks the service for something that may take a while: busy, seconds gone by, cancel, errors.

import { announce, el, problem } from "./dom.js";

/**
 * `ask(signal)` does the work. While it runs the stage is marked busy and the button becomes one that cancels.
 * `refused(error)` may show an error at a field and then returns true. `end()` aborts what runs, and nothing is asked or said any more.
 */
export function work(label, stage, ask, { refused = () => false, keys = true } = {}) {
  const said = el("span", {}, label);
  const clock = el("span", { class: "clock", "aria-hidden": "true" });
  const button = el("button", { type: "button", class: "primary", "aria-keyshortcuts": keys ? "Control+Enter" : null }, said, clock);
  const wrong = el("div", { class: "wrong-place" });
  let stop = null;
  let ended = false;

  function end() {
    ended = true;
    stop?.abort();
    if (stop) stage.removeAttribute("aria-busy");
  }
  async function run() {
    if (ended) return;
    if (stop) {
      stop.abort();
      return;
    }
    stop = new AbortController();
    const start = performance.now();
    const tick = setInterval(() => (clock.textContent = ` ${((performance.now() - start) / 1000).toFixed(0)} s`), 1000);
    const late = setTimeout(() => { said.textContent = "Stop"; button.classList.add("busy"); }, 400);
    stage.setAttribute("aria-busy", "true");
    problem(wrong);
    try {
      await ask(stop.signal);
    } catch (error) {
      if (ended) return;
      if (error.name === "AbortError") announce("Stopped");
      else if (!refused(error)) problem(wrong, error);
    } finally {
      clearTimeout(late);
      clearInterval(tick);
      stop = null;
      said.textContent = label;
      clock.textContent = "";
      button.classList.remove("busy");
      if (!ended) stage.removeAttribute("aria-busy"); // it may be another's by now
    }
  }
  button.addEventListener("click", run);
  return { clear: () => problem(wrong), box: el("div", { class: "work" }, button, wrong), run, end, button, rename: (words) => (said.textContent = label = words) };
}
