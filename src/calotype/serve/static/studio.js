// The Studio: a model, what it can do, and one tool at work at a time. The address keeps model and tool.

import { $, $$, el, empty, problem } from "./dom.js";
import { get, post } from "./api.js";
import { tray } from "./picture.js";
import * as samples from "./tool_samples.js";
import * as explore from "./tool_explore.js";
import * as interpolate from "./tool_interpolate.js";
import * as complete from "./tool_complete.js";
import * as restore from "./tool_restore.js";
import * as recognize from "./tool_recognize.js";

// in the order of the tabs; `needs` is the ability that a model must have, null for what needs none
const TOOLS = [
  { name: "sample", title: "Samples", needs: "sample", make: samples.make },
  { name: "explore", title: "Explore", needs: "explore", make: explore.make },
  { name: "interpolate", title: "Interpolate", needs: "interpolate", make: interpolate.make },
  { name: "complete", title: "Complete", needs: "complete", make: complete.make, takes: true },
  ...Object.entries(restore.WORDS).map(([name, [title]]) => ({ name, title, needs: name, make: restore.make, takes: true })),
  { name: "classify", title: "Classify", needs: "classify", make: recognize.make, takes: true },
  { name: "detect", title: "Detect", needs: "detect", make: recognize.make, takes: true },
  { name: "trace", title: "Trace", needs: null, make: recognize.make, takes: true },
];

const stage = $("#stage");
const controls = $("#controls");
const beside = $("#beside");
const tabs = $("#tools");
const picker = $("#model");
const memories = new Map(); // what was set, by model
let models = [];
let running = null; // the tool at work
let ending = [];
let turn = 0; // tells a tool whose answer comes late that another one has its place

const able = (model) => TOOLS.filter((tool) => tool.needs === null || model?.abilities.includes(tool.needs));
const wanted = () => Object.fromEntries(new URLSearchParams(location.hash.slice(1)));

/** What else can be done with an image that was made: buttons for the viewer. */
function ways(item) {
  const model = models.find((one) => one.id === wanted().model) ?? models[0];
  const there = item.from.ability === "sample" && item.model.id === model.id ? model.abilities : [];
  const found = [];
  if (there.includes("explore")) found.push({ label: "Explore from here", run: () => open(model, "explore", item) });
  if (there.includes("interpolate")) {
    found.push({ label: "Interpolate from this", run: () => open(model, "interpolate", { ...item, side: "from" }) });
    found.push({ label: "Interpolate to this", run: () => open(model, "interpolate", { ...item, side: "to" }) });
  }
  for (const other of models) {
    for (const tool of able(other).filter((one) => one.takes && one.needs)) {
      found.push({ label: `${tool.title}${other.id === model.id ? "" : ` by ${other.name}`}`, run: () => open(other, tool.name, item) });
    }
  }
  return [...found.slice(0, 7), { label: "Trace", run: () => open(model, "trace", item) }];
}

/** A sample to try a tool with, of this model or of the first one that draws. */
function sampler(model) {
  const drawing = model?.abilities.includes("sample") ? model : models.find((one) => one.abilities.includes("sample") && one.channels === model?.channels) ?? models.find((one) => one.abilities.includes("sample"));
  if (!drawing) return null;
  return {
    label: "Take a sample",
    draw: async () => {
      const body = { n: 1, seed: Math.floor(Math.random() * 100000), index: 0, label: null, options: {} };
      const answer = await post(`/v1/models/${drawing.id}/sample`, body);
      tray.add([samples.itemOf(answer.images[0], drawing, "sample", body)]);
      return answer.images[0].image;
    },
  };
}

/** Open a tool, with an image that it starts from. */
function open(model, tool, given = null) {
  const place = `#${new URLSearchParams({ ...(model ? { model: model.id } : {}), tool })}`;
  if (place !== location.hash) history.pushState(null, "", place);
  show(given);
}

async function show(given = null) {
  const mine = ++turn;
  const asked = wanted();
  const model = models.find((one) => one.id === asked.model) ?? models[0];
  const known = able(model);
  const tool = known.find((one) => one.name === asked.tool) ?? known[0];
  ending.forEach((end) => end());
  ending = [];
  running = null;
  describe(model);
  picker.value = model?.id ?? "";
  drawTabs(known, tool, model);
  controls.replaceChildren();
  stage.replaceChildren();
  beside.replaceChildren();
  beside.parentElement.dataset.tool = tool.name;
  stage.setAttribute("aria-labelledby", `tab-${tool.name}`);
  document.title = `${tool.title} · Calotype`;
  if (model && !memories.has(model.id)) memories.set(model.id, {});
  const context = {
    model, ways, stage, controls, beside, given, ability: tool.name, memory: memories.get(model?.id) ?? {},
    sampler: sampler(model), nameOf: (id) => models.find((one) => one.id === id)?.name ?? id, spare: (end) => ending.push(end), alive: () => mine === turn,
  };
  try {
    const made = await tool.make(context);
    if (mine === turn) running = made;
  } catch (error) {
    if (mine === turn) problem(stage, error);
  }
}

function drawTabs(known, now, model) {
  tabs.replaceChildren(...known.map((tool) => el("button", {
    type: "button", role: "tab", id: `tab-${tool.name}`, "aria-selected": String(tool === now), "aria-controls": "stage", tabindex: tool === now ? 0 : -1,
    onclick: () => open(model, tool.name),
  }, tool.title)));
  const current = $(`#tab-${now.name}`);
  tabs.scrollLeft = current.offsetLeft - tabs.clientWidth / 2 + current.clientWidth / 2;
}

tabs.addEventListener("keydown", (event) => {
  const all = $$("[role=tab]", tabs);
  const at = all.indexOf(document.activeElement);
  const next = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: all.length - 1 }[event.key];
  if (next === undefined || at < 0) return;
  event.preventDefault();
  const name = all[(next + all.length) % all.length].id;
  all[(next + all.length) % all.length].click();
  requestAnimationFrame(() => $(`#${name}`)?.focus());
});

function describe(model) {
  const place = $("#about");
  if (!model) {
    place.textContent = "";
    return;
  }
  const [width, height] = complete.sides(model);
  const facts = [model.recipe, width && `${width} × ${height}`, !model.channels ? "" : model.channels === 1 ? "gray" : model.channels === 3 ? "color" : `${model.channels} channels`];
  if (model.classes.length && model.recipe !== "detector") facts.push(`${model.classes.length} classes`);
  place.replaceChildren(...facts.filter(Boolean).map((fact) => el("span", {}, fact)));
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) running?.run?.();
});
controls.addEventListener("submit", (event) => {
  event.preventDefault();
  running?.run?.();
});
picker.addEventListener("change", () => open(models.find((one) => one.id === picker.value), wanted().tool ?? "sample"));
addEventListener("popstate", () => show()); // back, forward, or an address typed in

try {
  ({ models } = await get("/v1/models"));
  picker.disabled = false;
  picker.replaceChildren(...models.map((one) => el("option", { value: one.id }, one.name)));
  $("#choose").hidden = models.length === 0;
  if (!models.length) {
    $("#none").hidden = false;
    $("#none").append(empty("No model yet", "A model is what a training leaves behind. Start a training here, or start the service with a model that you have."), el("p", {}, el("a", { class: "button primary", href: "/runs#new" }, "Start a training")));
  }
  await show();
} catch (error) {
  problem(stage, error);
}
