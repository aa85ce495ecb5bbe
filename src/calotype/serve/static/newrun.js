// A form for a new training: recipe, images, minutes, the recipe's own settings; beside it what the check of the images advises.

import { announce, coded, duration, el, fresh, number, problem } from "./dom.js";
import { get, post } from "./api.js";
import { fields, joined } from "./fields.js";
import { finished } from "./jobs.js";
import { work } from "./work.js";

/** Fill `place` with the form; `started(run)` hears of the run. */
export async function form(place, started) {
  const id = fresh("new");
  place.replaceChildren(el("p", { class: "quiet" }, "One moment …"));
  let recipes;
  let sources;
  try {
    [{ recipes }, { sources }] = await Promise.all([get("/v1/recipes"), get("/v1/sources")]);
  } catch (error) {
    problem(place, error);
    return;
  }
  const recipe = el("select", { id: `${id}-recipe` }, recipes.map((one) => el("option", { value: one.name }, one.name)));
  const about = el("p", { class: "help" });
  const source = el("select", { id: `${id}-source` }, sources.map((one) => el("option", { value: one.name }, one.name)));
  const told = el("p", { class: "help" });
  const minutes = el("input", { type: "number", id: `${id}-minutes`, min: 0.1, step: "any", value: 2, inputmode: "decimal" });
  const settings = el("div", {});
  const advice = el("aside", { class: "advice", "aria-label": "What the images are like" });
  let made = fields({});

  function choose(values = {}) {
    const one = recipes.find((each) => each.name === recipe.value);
    about.textContent = one.help ?? "";
    const main = (name, schema) => schema.main === true;
    const first = fields(one.settings, main, "automatic");
    const said = ["train.minutes", "train.steps"]; // how long: the field above says it
    const rest = fields(one.settings, (name, schema) => !main(name, schema) && !said.includes(name), "automatic");
    made = joined(first, rest);
    const sought = el("input", { type: "search", placeholder: "find a setting", "aria-label": "Find a setting" });
    const grouped = groups(rest);
    sought.addEventListener("input", () => find(sought.value.toLowerCase(), rest, grouped));
    settings.replaceChildren(
      first.list.length ? el("div", { class: "columns" }, first.boxes) : "",
      rest.list.length ? el("details", { class: "more" }, el("summary", {}, `${first.list.length ? "All other" : "All"} ${rest.list.length} settings`), el("div", { class: "field" }, sought), grouped.map((group) => group.box)) : "",
    );
    Object.entries(values).forEach(([name, value]) => made.set(name, value));
  }
  recipe.addEventListener("change", () => choose());

  async function check() {
    const asked = source.value;
    told.textContent = sources.find((one) => one.name === asked)?.about ?? "";
    advice.setAttribute("aria-busy", "true");
    advice.replaceChildren(el("h2", {}, "These images"), el("p", { class: "quiet" }, "Looking at all of them …"));
    try {
      let answer = await post("/v1/data/check", { source: asked });
      if (answer.job) answer = await finished(answer.job.id ?? answer.job);
      if (source.value === asked) advise(answer);
    } catch (error) {
      if (source.value === asked) problem(advice, error);
    } finally {
      advice.removeAttribute("aria-busy");
    }
  }
  function advise({ check: found, about: words, advice: say, recognition }) {
    const classes = Object.keys(found?.classes ?? {}).length;
    const facts = found ? { images: number(found.images), "to train on": number(found.train), "held out": number(found.holdout), classes: classes || "none", size: found.sizes?.common?.[0]?.[0], unusable: found.skipped?.length || null } : {};
    const use = (what, label) => el("button", { type: "button", class: "small", onclick: () => take(what) }, label);
    const reasons = Object.entries(say?.reasons ?? {}).map(([name, why]) => el("li", {}, el("strong", {}, `${name} ${say[name] ?? ""}`), ": ", coded(why)));
    advice.replaceChildren(
      el("h2", {}, "These images"),
      words ? el("p", {}, words) : "",
      el("dl", { class: "facts" }, Object.entries(facts).filter(([, value]) => value).map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, String(value))))),
      ...(found?.notes ?? []).map((note) => el("p", { class: "caution" }, coded(note))),
      ...(say ? [el("h2", {}, "To draw such images"), reasons.length ? el("ul", {}, reasons) : "", say.usable_after_minutes ? el("p", {}, `On this machine it takes about ${duration(60 * say.usable_after_minutes)} until most of what it draws can be told for what it is.`) : "", use(say, "Use this advice")] : []),
      ...(recognition ? [el("h2", {}, "To recognize them"), el("p", {}, el("strong", {}, recognition.recipe), ": ", coded(recognition.reason)), use(recognition, `Use ${recognition.recipe}`)] : []),
    );
  }
  function take(say) {
    if (recipes.some((one) => one.name === say.recipe)) recipe.value = say.recipe;
    choose({ "data.size": say.size, "data.channels": say.channels, "train.batch": say.batch, "data.flip": say.flip });
    if (say.minutes) minutes.value = Math.round(100 * say.minutes) / 100; // not every advice says how long
    announce(`The form says ${say.recipe} now`);
  }
  source.addEventListener("change", check);

  const starting = work("Start training", settings, async (signal) => {
    made.clear();
    const body = { recipe: recipe.value, source: source.value, settings: made.values(), minutes: Number(minutes.value) };
    const answer = await post("/v1/runs", body, signal);
    started(answer.run);
  }, { refused: (error) => made.refused(error), keys: false });

  place.replaceChildren(el("div", { class: "starting" },
    el("form", { "aria-label": "New training", onsubmit: (event) => { event.preventDefault(); starting.run(); } },
      el("div", { class: "field" }, el("label", { htmlFor: recipe.id }, "Recipe"), recipe, about),
      el("div", { class: "field" }, el("label", { htmlFor: source.id }, "Images"), source, told),
      el("div", { class: "field" }, el("label", { htmlFor: minutes.id }, "Minutes"), minutes, el("p", { class: "help" }, "The training ends by itself then; it can be stopped before and go on later.")),
      settings,
      starting.box),
    advice));
  recipe.value = (recipes.find((one) => one.default) ?? recipes[0])?.name;
  choose();
  check();
}

/** Fields under the headings of their place in the configuration. */
function groups(rest) {
  const found = new Map();
  for (const one of rest.list) {
    const name = one.name.includes(".") ? one.name.split(".").slice(0, -1).join(" · ") : "general";
    if (!found.has(name)) found.set(name, []);
    found.get(name).push(one);
  }
  return [...found].map(([name, list]) => ({ list, box: el("section", {}, el("h3", {}, name), el("div", { class: "columns" }, list.map((one) => one.box))) }));
}

function find(words, rest, grouped) {
  for (const one of rest.list) one.box.hidden = !`${one.name} ${one.box.textContent}`.toLowerCase().includes(words);
  for (const group of grouped) group.box.hidden = group.list.every((one) => one.box.hidden);
}
