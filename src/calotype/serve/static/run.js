// One run, live: state and time left, curves, samples through time, verdicts, settings and the report.

import { $, announce, coded, duration, el, empty, number, problem, status, when } from "./dom.js";
import { get, listen, post } from "./api.js";
import { chart, groups } from "./chart.js";
import { found, watched } from "./jobs.js";

const root = $("#run");
const id = root.dataset.run;
const base = `/v1/runs/${encodeURIComponent(id)}`;
const FIRST = 6; // charts that are shown at once

const head = el("div");
const wrong = el("div");
const curves = el("div", { class: "charts" });
const further = el("div", { class: "charts" });
const more = el("details", { class: "more", hidden: true }, el("summary", {}, "More curves"), further);
const scrub = el("div", { class: "scrub" });
const verdicts = el("ul", { class: "verdicts" });
const others = el("details", { class: "more", hidden: true });
const facts = el("div");
const report = el("section", { "aria-label": "Report" });

let run = null;
let rows = [];
let drawn = []; // [title of groups joined, charts]
let samples = [];
let at = null; // the sample grid that was chosen; null follows the newest
let live = "";
let redrawing = false;
let told = ""; // the verdicts that are shown

// the head is built once and changed in place: what has the focus keeps it
const title = el("h1", { tabindex: -1 });
const state = el("span");
const step = el("span");
const left = el("span");
const link = el("span");
const stop = el("button", { type: "button", onclick: act("stop", () => ({})) }, "Stop in order");
const studio = el("a", { class: "button" }, "Open in the Studio");
const progress = el("progress", { "aria-label": "Progress" });
const message = el("p");
const messageBox = el("div", { class: "problem" }, message);
const minutes = el("input", { type: "number", id: "minutes", min: 0.1, step: "any", value: 2 });
const again = el("button", { type: "button", onclick: act("resume", () => ({ minutes: Number(minutes.value) })) }, "Resume");
const resume = el("div", { class: "row resume" }, el("label", { htmlFor: "minutes" }, "train on for"), minutes, el("span", {}, "minutes"), again);
head.append(title, el("div", { class: "run-head" }, state, step, left, link, stop, studio), progress, messageBox, resume);

/** Words of an element, touched only where they are others; without any it is hidden. */
function say(node, words) {
  node.hidden = !words;
  if (node.textContent !== words) node.textContent = words;
}

function showHead() {
  const busy = ["queued", "training", "stopping"].includes(run.state);
  const focused = document.activeElement;
  say(title, run.name);
  if (state.dataset.state !== run.state) state.replaceChildren(status(run.state));
  state.dataset.state = run.state;
  say(step, run.steps ? `step ${number(run.step ?? 0)} of ${number(run.steps)}` : `step ${number(run.step ?? 0)}`);
  say(left, run.state === "training" && run.seconds_left ? `about ${duration(run.seconds_left)} left` : "");
  say(link, busy && live ? (live === "live" ? "live" : "connecting again …") : "");
  link.className = live === "live" ? "live" : "live lost";
  stop.hidden = !run.can?.stop;
  studio.hidden = !run.model;
  if (run.model) studio.href = `/#model=${run.model}&tool=sample`;
  progress.hidden = !busy || !run.steps;
  if (run.steps) Object.assign(progress, { max: run.steps, value: Math.min(run.step ?? 0, run.steps) });
  messageBox.hidden = !run.message;
  if (message.dataset.words !== (run.message ?? "")) message.replaceChildren(coded(run.message ?? ""));
  message.dataset.words = run.message ?? "";
  resume.hidden = !run.can?.resume;
  if (head.contains(focused) && focused.closest("[hidden]")) (resume.hidden ? title : again).focus();
  document.title = `${run.name} · Calotype`;
}

function act(what, body) {
  return async ({ currentTarget: button }) => {
    if (button.getAttribute("aria-disabled")) return; // not `disabled`: that would lose the focus
    button.setAttribute("aria-disabled", "true");
    try {
      const answer = await post(`${base}/${what}`, body());
      take(answer.run ?? (await get(base)).run ?? run);
      connect();
      announce(what === "stop" ? "The training stops after its step, and can go on later" : "The training goes on");
    } catch (error) {
      problem(wrong, error);
    } finally {
      button.removeAttribute("aria-disabled");
    }
  };
}

function showCurves() {
  redrawing = false;
  if (!rows.length) {
    curves.replaceChildren(el("p", { class: "quiet" }, "Curves come with the first row of the log."));
    return;
  }
  const found = Object.entries(groups(rows));
  const titles = found.map(([title, keys]) => `${title}:${keys}`).join();
  if (titles !== drawn[0]) {
    const charts = found.map(([title, keys]) => chart(title, keys.map((key) => ({ name: key.replaceAll("_", " "), key }))));
    curves.replaceChildren(...charts.slice(0, FIRST).map((one) => one.box));
    further.replaceChildren(...charts.slice(FIRST).map((one) => one.box));
    more.hidden = charts.length <= FIRST;
    drawn = [titles, charts];
  }
  drawn[1].forEach((one) => one.update(() => rows));
}

function soon() {
  if (!redrawing) requestAnimationFrame(showCurves);
  redrawing = true;
}

function row(one) {
  if (one.event && one.to === undefined) return; // a verdict or another word, no numbers
  if (one.to !== undefined) rows = rows.filter((each) => each.step <= one.to);
  else if (!rows.length || one.step > rows.at(-1).step) rows.push(one);
  soon();
}

async function showSamples() {
  ({ samples } = await get(`${base}/samples`));
  if (!samples.length) {
    scrub.replaceChildren(el("p", { class: "quiet" }, "Images drawn from the same noise appear here with each checkpoint."));
    return;
  }
  const image = el("img", { class: "pixels" });
  const words = el("output", { class: "quiet" });
  const slider = el("input", { type: "range", min: 0, max: samples.length - 1, step: 1, "aria-label": "Samples through time" });
  const place = at === null ? samples.length - 1 : Math.min(at, samples.length - 1);
  const show = (index) => {
    const one = samples[index];
    slider.value = index;
    slider.setAttribute("aria-valuetext", `step ${one.step}`);
    image.src = `${base}/samples/${one.n}`;
    image.alt = `Samples at step ${one.step}`;
    words.value = `step ${number(one.step)}`;
  };
  slider.addEventListener("input", () => { at = Number(slider.value) === samples.length - 1 ? null : Number(slider.value); show(Number(slider.value)); });
  for (const one of samples) new Image().src = `${base}/samples/${one.n}`; // so that the slider does not wait
  show(place);
  const focused = document.activeElement?.parentElement?.parentElement === scrub;
  scrub.replaceChildren(image, el("div", { class: "row acts" }, slider, words));
  if (focused) slider.focus();
}

function showVerdicts() {
  const all = run.verdicts ?? [];
  const now = JSON.stringify([all, all.length || [run.state === "training", run.report]]);
  if (now === told) return;
  told = now;
  const show = (one) => el("li", { class: `is-${one.status.toLowerCase().replaceAll(" ", "-")}` }, el("div", { class: "row" }, status(one.status), el("strong", {}, one.name)), el("p", {}, coded(one.text ?? "")));
  const worse = all.filter((one) => ["FAIL", "WARN"].includes(one.status));
  const rest = all.filter((one) => !worse.includes(one));
  verdicts.replaceChildren(...worse.map(show));
  others.hidden = !rest.length;
  others.replaceChildren(el("summary", {}, [`${rest.filter((one) => one.status === "PASS").length} passed`, ...["CANNOT TELL", "NOT APPLICABLE"].map((word) => [word, rest.filter((one) => one.status === word).length]).filter(([, many]) => many).map(([word, many]) => `${many} ${word.toLowerCase()}`)].join(", ")), el("ul", { class: "verdicts" }, rest.map(show)));
  if (!all.length) verdicts.replaceChildren(el("li", { class: "quiet" }, run.state === "training" ? "No verdict yet. What looks wrong while it trains is said here." : run.report ? "No verdict was raised." : "Nobody has judged it yet."));
}

function showReport() {
  const title = el("h2", {}, "Report");
  if (run.report) {
    if ($("iframe", report)) return;
    report.replaceChildren(title, el("p", {}, el("a", { href: `${base}/report`, target: "_blank", rel: "noopener" }, "Open it by itself")), el("iframe", { class: "report", sandbox: "allow-popups", loading: "lazy", title: `Report of ${run.name}`, src: `${base}/report` }));
    return;
  }
  if (run.state === "training" || run.state === "queued") {
    report.replaceChildren(title, el("p", { class: "quiet" }, "A report judges the model when the training has ended."));
    return;
  }
  if (!run.can?.judge) {
    report.replaceChildren(title, el("p", { class: "quiet" }, "There is nothing to judge yet: this run has saved no model."));
    return;
  }
  const place = el("div");
  const words = el("p");
  const make = el("button", { type: "button", hidden: true }, "Judge this model");
  /** See a judgement through to its end, whoever asked for it; `ask` gives the job, or undefined where there is none. */
  async function follow(ask) {
    make.hidden = true;
    try {
      const job = await ask();
      if (job) {
        words.textContent = "This model is being judged. That takes minutes, and goes on when you leave this page.";
        await watched(job.id, place);
        take(await get(base));
        return;
      }
    } catch (error) {
      problem(place, error);
    }
    words.textContent = "Nobody has judged this model yet. The report compares what it draws with real images, and takes minutes.";
    make.hidden = false;
  }
  make.addEventListener("click", () => follow(async () => (await post("/v1/jobs", { kind: "evaluate", run: id, request: {} })).job));
  report.replaceChildren(title, words, make, place);
  follow(() => found("evaluate", (about) => about.run === id));
}

function showFacts() {
  const said = { recipe: run.recipe, images: run.source, started: run.started && when(run.started), ...(run.facts ?? {}) };
  const list = Object.entries(said).filter(([, value]) => value !== null && value !== undefined && value !== "" && typeof value !== "object");
  facts.replaceChildren(el("dl", { class: "facts" }, list.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, String(value))))));
}

function take(newer) {
  const before = run;
  run = newer;
  showHead();
  showVerdicts();
  showFacts();
  if (before?.state !== run.state || before?.report !== run.report || before?.can?.judge !== run.can?.judge) showReport();
  if (before?.samples !== run.samples || !before) showSamples().catch((error) => problem(scrub, error));
}

let close = null;
function connect() {
  close?.();
  close = listen(() => `${base}/events?after=${rows.at(-1)?.step ?? 0}`, {
    log: row,
    state: (newer) => { take(newer.run ?? newer); if (!["queued", "training", "stopping"].includes(run.state)) { close(); live = ""; showHead(); } },
    verdict: (one) => { run.verdicts = [...(run.verdicts ?? []).filter((each) => each.name !== one.name), one]; showVerdicts(); announce(`Verdict: ${one.status}, ${one.name}`); },
  }, (how) => {
    live = how === "ended" ? "" : how;
    showHead();
  });
}

try {
  const [answer, log] = await Promise.all([get(base), get(`${base}/log`)]);
  log.rows.forEach(row);
  root.replaceChildren(head, wrong,
    el("div", { class: "panes" },
      el("div", { class: "column" },
        el("section", { "aria-label": "Curves" }, el("h2", {}, "Curves"), curves, more),
        el("section", { "aria-label": "Verdicts" }, el("h2", {}, "Verdicts"), verdicts, others)),
      el("div", { class: "column" },
        el("section", { "aria-label": "Samples" }, el("h2", {}, "Samples"), scrub),
        el("section", { "aria-label": "Facts" }, el("h2", {}, "Facts"), facts))),
    report);
  take(answer.run ?? answer);
  showCurves();
  if (["queued", "training", "stopping"].includes(run.state)) connect();
} catch (error) {
  if (error.status === 404) root.replaceChildren(empty("There is no such run", "It may have been moved or deleted since.", el("a", { class: "button", href: "/runs" }, "All runs")));
  else problem(root, error);
}
