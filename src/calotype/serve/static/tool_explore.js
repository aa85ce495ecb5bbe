// Walking through what a model can draw: along two directions on a pad, along all others by sliders.

import { dice, el, fresh, number, problem, toast } from "./dom.js";
import { get, newest, post } from "./api.js";
import { pad } from "./pad.js";
import { picture, tray } from "./picture.js";
import { start } from "./start.js";
import { itemOf } from "./tool_samples.js";
import { leave } from "./viewer.js";

const SLIDERS = 8; // shown at once; the others wait behind a click

export async function make({ model, memory, stage, controls, beside, given, alive }) {
  const wrong = el("div");
  const shown = el("div", { class: "big" });
  const told = el("p", { class: "quiet timing", "aria-live": "off" });
  const acts = el("div", { class: "row wrap acts" });
  stage.replaceChildren(el("div", { class: "explorer" }, shown, told, acts, wrong));
  if (given) Object.assign(memory, { seed: given.seed, index: given.index, label: given.label });
  const { directions } = await get(`/v1/models/${model.id}/directions`);
  if (!alive()) return {};

  const moves = {};
  const rows = new Map();
  const from = start(model, memory, () => { memory.index = 0; ask(); });
  const ask = newest(async () => {
    const kept = Object.fromEntries(Object.entries(moves).filter(([, value]) => value !== 0));
    const body = { seed: from.seed(), index: memory.index ?? 0, label: from.label(), moves: kept, options: {} };
    const begun = performance.now();
    try {
      const answer = await post(`/v1/models/${model.id}/explore`, body);
      if (!alive()) return;
      const item = itemOf(answer.images[0], model, "explore", body);
      const next = picture(item.image, `${item.alt}, moved along ${Object.keys(kept).length} directions`);
      await next.decode().catch(() => {});
      shown.replaceChildren(next);
      told.textContent = `${Math.round(performance.now() - begun)} ms`;
      acts.replaceChildren(...leave(item, wrong), el("button", { type: "button", onclick: () => { tray.add([item]); toast("Set aside: the other tools offer it"); } }, "Set aside"));
      problem(wrong);
    } catch (error) {
      problem(wrong, error);
    }
  });

  const byId = Object.fromEntries(directions.map((one) => [one.id, one]));
  const chosen = { x: directions[0]?.id, y: directions[1]?.id ?? directions[0]?.id };
  const scaled = (id, share) => (share < 0 ? -share * byId[id].range[0] : share * byId[id].range[1]);
  const say = (x, y) => `${byId[chosen.x].name} ${number(scaled(chosen.x, x), 2)}, ${byId[chosen.y].name} ${number(scaled(chosen.y, y), 2)}`;
  const label = () => `${byId[chosen.x].name} from left to right, ${byId[chosen.y].name} upwards`;

  function move(id, value, tell = true) {
    moves[id] = value;
    const row = rows.get(id);
    if (row) [row.input.value, row.out.value] = [value, number(value, 2)];
    if (tell) ask();
  }
  const plane = directions.length && pad(label(), (x, y) => { move(chosen.x, scaled(chosen.x, x), false); move(chosen.y, scaled(chosen.y, y), false); ask(); }, say);
  const choose = (axis, words) => {
    const id = fresh("axis");
    const select = el("select", { id }, directions.map((one) => el("option", { value: one.id }, one.name)));
    select.value = chosen[axis];
    select.addEventListener("change", () => { move(chosen[axis], 0, false); chosen[axis] = select.value; plane.name(label()); plane.set(0, 0); });
    return el("div", { class: "field" }, el("label", { htmlFor: id }, words), select);
  };
  const slider = (one) => {
    const id = fresh("direction");
    const [low, high] = one.range;
    const out = el("output", { htmlFor: id }, "0");
    const input = el("input", { type: "range", id, min: low, max: high, step: (high - low) / 100, value: 0 });
    input.addEventListener("input", () => move(one.id, Math.abs(Number(input.value)) < (high - low) / 150 ? 0 : Number(input.value)));
    rows.set(one.id, { input, out });
    return el("div", { class: "slider" }, el("label", { htmlFor: id }, one.name), input, out);
  };
  const reset = () => { directions.forEach((one) => move(one.id, 0, false)); plane?.set?.(0, 0); };
  const first = directions.slice(0, SLIDERS).map(slider);
  const rest = directions.slice(SLIDERS).map(slider);
  controls.append(
    plane ? el("div", { class: "pair" }, choose("x", "Across"), choose("y", "Up")) : el("p", { class: "quiet" }, "No directions are known of this model."),
    plane ? plane.box : "",
    el("div", { class: "row wrap acts" },
      el("button", { type: "button", onclick: () => { memory.index = 0; from.set(dice(), from.label()); ask(); } }, "Another start"),
      el("button", { type: "button", onclick: reset }, "Reset")),
    ...from.boxes,
  );
  beside.append(
    first.length ? el("h2", {}, "Directions") : "",
    first.length ? el("div", { class: "sliders" }, first) : "",
    rest.length ? el("details", { class: "more" }, el("summary", {}, `${rest.length} more directions`), el("div", { class: "sliders" }, rest)) : "",
  );
  ask();
  return {};
}
