// The runs of the service, and the way to a new one.

import { $, announce, el, empty, number, problem, status, duration, when } from "./dom.js";
import { get } from "./api.js";
import { form } from "./newrun.js";

const list = $("#list");
const wrong = $("#wrong");
const opener = $("#new");
const place = $("#start");
const EVERY = 4000; // milliseconds between two looks while something trains

async function show() {
  try {
    const { runs } = await get("/v1/runs");
    problem(wrong);
    draw(runs);
    if (runs.some((run) => ["queued", "training", "stopping"].includes(run.state))) setTimeout(show, EVERY);
  } catch (error) {
    problem(wrong, error);
  }
}

// built once and changed in place, a row for each run: what has the focus keeps it
const compare = el("button", { class: "small" }, "Compare");
const hint = el("span", { class: "quiet" }, "Tick two or more runs to compare them.");
const head = ["", "run", "recipe", "images", "state", "steps", "verdicts", "started"].map((word) => el("th", { scope: "col" }, word || el("span", { class: "unseen" }, "compare")));
const body = el("tbody");
const table = el("div", { class: "scroll table-of-runs", tabindex: 0, role: "group", "aria-label": "Table of runs" }, el("table", {}, el("thead", {}, el("tr", {}, head)), body));
const rows = new Map(); // by id

function count() {
  const many = list.querySelectorAll("input:checked").length;
  compare.disabled = many < 2;
  hint.hidden = many >= 2;
}
list.addEventListener("change", count);

function row(id) {
  const box = el("input", { type: "checkbox", name: "run", value: id });
  const link = el("a", { href: `/runs/${encodeURIComponent(id)}` });
  const cells = Array.from({ length: 6 }, () => el("td"));
  const update = (run) => {
    box.setAttribute("aria-label", `Compare ${run.name}`);
    link.textContent = run.name;
    const said = [run.recipe ?? "", run.source ?? "", status(run.state), progress(run), tally(run.verdicts ?? []), run.started ? when(run.started) : ""];
    cells.forEach((cell, index) => cell.replaceChildren(said[index]));
  };
  return { line: el("tr", {}, el("td", {}, box), el("th", { scope: "row" }, link), cells), update };
}

function draw(runs) {
  const there = new Set(runs.map((run) => run.id));
  for (const [id, { line }] of rows) if (!there.has(id)) { line.remove(); rows.delete(id); }
  if (!runs.length) {
    list.replaceChildren(empty("No run yet", "A run is all of one training: its settings, curves, images and the model that comes out. Start one, and watch it learn."));
    return;
  }
  runs.forEach((run, index) => {
    if (!rows.has(run.id)) rows.set(run.id, row(run.id));
    const { line, update } = rows.get(run.id);
    update(run);
    if (body.children[index] !== line) body.insertBefore(line, body.children[index] ?? null);
  });
  if (!table.isConnected) list.replaceChildren(table, el("div", { class: "row acts" }, compare, hint));
  count();
}

function progress(run) {
  if (!run.steps) return "";
  const words = `${number(run.step ?? 0)} of ${number(run.steps)}`;
  if (run.state !== "training") return words;
  return el("div", {}, el("progress", { max: run.steps, value: run.step ?? 0, "aria-label": `Progress of ${run.name}` }), el("span", { class: "quiet" }, run.seconds_left ? `${duration(run.seconds_left)} left` : words));
}

function tally(verdicts) {
  const bad = (word) => verdicts.filter((one) => one.status.toLowerCase() === word).length;
  const marks = [["fail", bad("fail")], ["warn", bad("warn")]].filter(([, count]) => count);
  if (!marks.length) return verdicts.length ? status("pass") : el("span", { class: "quiet" }, "none yet");
  return el("span", { class: "row" }, marks.map(([word, count]) => el("span", {}, status(word), ` ${count}`)));
}

async function open() {
  const showing = place.hidden;
  place.hidden = !showing;
  opener.setAttribute("aria-expanded", String(showing));
  opener.textContent = showing ? "Close" : "New training";
  opener.classList.toggle("primary", !showing);
  if (showing) {
    await form(place, (run) => location.assign(`/runs/${encodeURIComponent(run.id)}`));
    announce("Form for a new training");
    place.querySelector("select")?.focus();
  }
}

opener.addEventListener("click", open);
show();
if (location.hash === "#new") open();
