// Runs side by side: the settings in which they differ, their curves in one drawing each, their scores, their newest samples.

import { $, el, empty, number, problem, status, when } from "./dom.js";
import { get, post } from "./api.js";
import { chart, groups } from "./chart.js";
import { found, watched } from "./jobs.js";

const place = $("#comparison");
const asked = new URLSearchParams(location.search).getAll("run");

function table(caption, columns, rows) {
  if (!rows.length) return "";
  const head = ["", ...columns].map((word) => el("th", { scope: "col" }, word || el("span", { class: "unseen" }, "name")));
  const body = rows.map(([name, ...cells]) => el("tr", {}, el("th", { scope: "row" }, name), cells.map((cell) => el("td", {}, cell))));
  return el("section", { "aria-label": caption }, el("h2", {}, caption), el("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": caption }, el("table", {}, el("thead", {}, el("tr", {}, head)), el("tbody", {}, body))));
}

const plain = (value) => (value === null || value === undefined ? "none" : typeof value === "object" ? JSON.stringify(value) : typeof value === "number" ? number(value) : String(value));

function scoreOf(score) {
  if (!score) return "none";
  const place = score.ranks && (score.ranks[0] === score.ranks[1] ? `place ${score.ranks[0]}` : `place ${score.ranks[0]} or ${score.ranks[1]}`);
  const beside = [score.interval && score.interval.map((one) => number(one, 3)).join(" to "), place].filter(Boolean).join(" · ");
  return el("span", {}, number(score.value), beside && el("span", { class: "quiet block" }, beside));
}

function curvesOf(runs, logs) {
  const all = groups(logs.flat());
  const shared = (key) => logs.filter((rows) => rows.some((row) => typeof row[key] === "number")).length;
  const keys = Object.values(all).flat().sort((one, other) => shared(other) - shared(one)); // what several runs have can be compared
  const charts = keys.slice(0, 12).map((key) => {
    const drawing = chart(key.replaceAll("_", " "), runs.map((run, index) => ({ name: run.name, key, index })));
    drawing.update((one) => logs[one.index]);
    return drawing.box;
  });
  return el("section", { "aria-label": "Curves" }, el("h2", {}, "Curves"), el("div", { class: "charts" }, charts));
}

function judged(ids) {
  const result = el("div");
  const button = el("button", { type: "button", hidden: true }, "Compare by judgement");
  const these = (about) => about.runs?.join() === ids.join();
  const page = (job) => `/v1/jobs/${job.id}/page`;
  /** See a comparison through to its end, whoever asked for it; `ask` gives the job, or undefined where there is none. */
  async function follow(ask) {
    button.hidden = true;
    try {
      const job = await ask();
      if (job) {
        await watched(job.id, result);
        result.replaceChildren(el("iframe", { class: "report", sandbox: "allow-popups", title: "Comparison", src: page(job) }));
        return;
      }
      const last = await found("compare", these, ["done"]);
      if (last) result.replaceChildren(el("p", {}, el("a", { href: page(last), target: "_blank", rel: "noopener" }, `The comparison of ${when(last.ended)}`)));
    } catch (error) {
      problem(result, error);
    }
    button.hidden = false;
  }
  button.addEventListener("click", () => follow(async () => (await post("/v1/jobs", { kind: "compare", request: { runs: ids } })).job));
  follow(() => found("compare", these));
  return el("section", { "aria-label": "Judgement" }, el("h2", {}, "Judgement"), el("p", {}, "Every model draws, and all are judged by the same real images in the same features. That takes minutes."), button, result);
}

function draw(answer, logs, grids) {
  const { runs } = answer;
  const names = runs.map((run) => el("a", { href: `/runs/${encodeURIComponent(run.id)}` }, run.name));
  const settings = answer.settings.map((one) => [one.name, ...one.values.map(plain)]);
  const scores = answer.scores.map((one) => [one.name, ...one.values.map(scoreOf)]);
  const newest = runs.map((run, index) => {
    const last = grids[index].samples.at(-1);
    const image = last && el("img", { class: "pixels", alt: `Samples of ${run.name} at step ${last.step}`, src: `/v1/runs/${encodeURIComponent(run.id)}/samples/${last.n}` });
    return el("figure", { class: "scrub" }, image ?? el("p", { class: "quiet" }, "no samples yet"), el("figcaption", {}, last ? `${run.name}, step ${number(last.step)}` : run.name));
  });
  place.replaceChildren(
    table("Runs", names, [["state", ...runs.map((run) => status(run.state))], ["recipe", ...runs.map((run) => run.recipe ?? "")], ["images", ...runs.map((run) => run.source ?? "")], ["steps", ...runs.map((run) => number(run.step ?? 0))]]),
    el("section", { "aria-label": "Newest samples" }, el("h2", {}, "Newest samples"), el("div", { class: "side-by-side" }, newest)),
    curvesOf(runs, logs),
    table("Scores", runs.map((run) => run.name), scores),
    table("Settings that differ", runs.map((run) => run.name), settings),
    judged(runs.map((run) => run.id)),
  );
}

try {
  if (asked.length < 2) {
    place.replaceChildren(empty("Nothing to compare", "Tick two or more runs in the list of runs.", el("a", { class: "button", href: "/runs" }, "All runs")));
  } else {
    const query = asked.map((run) => `run=${encodeURIComponent(run)}`).join("&");
    const answer = await get(`/v1/compare?${query}`);
    const grids = await Promise.all(answer.runs.map((run) => get(`/v1/runs/${encodeURIComponent(run.id)}/samples`)));
    draw(answer, answer.runs.map((run) => answer.logs[run.id].filter((row) => !row.event)), grids);
  }
} catch (error) {
  problem(place, error);
}
