// Long work that the service does beside: its progress, its end, and the way to call it off.

import { el } from "./dom.js";
import { del, get, listen, Refusal } from "./api.js";

const OVER = ["done", "failed", "cancelled", "lost"];
const known = (state) => OVER.includes(state);

/** Wait for a job: its result, or the error with which it ended. `tell(job)` hears of its progress. */
export function finished(id, tell = () => {}) {
  return new Promise((resolve, reject) => {
    let close = () => {};
    const hear = (job) => {
      tell(job);
      if (!known(job.state)) return;
      close();
      if (job.state === "done") get(`/v1/jobs/${id}`).then((whole) => resolve(whole.result ?? {}), reject);
      else reject(new Refusal(job.error?.message ?? (job.state === "cancelled" ? "The work was called off." : "The work was lost; start it again."), 0, job.error?.field, job.error?.allowed));
    };
    const look = () => get(`/v1/jobs/${id}`).then((answer) => hear(answer.job ?? answer), (error) => { close(); reject(error); });
    close = listen(() => `/v1/jobs/${id}/events`, { state: hear }, (how) => how === "live" && look());
  });
}

/** The newest job of a kind in one of the states of which `is(what it is about)` holds; undefined where there is none. */
export async function found(kind, is, states = ["queued", "running"]) {
  const { jobs } = await get("/v1/jobs");
  return jobs.find((job) => job.kind === kind && states.includes(job.state) && is(job.about ?? {}));
}

/** A line that shows how far a job is, with a button that calls it off. Resolves as `finished` does. */
export async function watched(id, place) {
  const words = el("span", { class: "quiet", role: "status" }, "waiting for its turn");
  const bar = el("progress", { max: 1, "aria-label": "Progress" });
  const stop = el("button", { type: "button", class: "small", onclick: () => del(`/v1/jobs/${id}`) }, "Call off");
  place.replaceChildren(el("div", { class: "job" }, bar, el("div", { class: "row" }, words, stop)));
  try {
    return await finished(id, (job) => {
      const { what, done, total } = job.progress ?? {};
      if (total) [bar.max, bar.value] = [total, done];
      words.textContent = job.state === "queued" ? `waiting for its turn${job.position ? `, number ${job.position}` : ""}` : [what, total && `${done} of ${total}`].filter(Boolean).join(" ") || "at work";
    });
  } finally {
    place.replaceChildren();
  }
}
