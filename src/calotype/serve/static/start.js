// What every drawing starts from: a seed, and a class where the model knows classes.

import { dice, el, fresh } from "./dom.js";

/** Fields for a seed and, for models with classes, a label. `change()` hears of every change. */
export function start(model, memory, change = () => {}) {
  const id = fresh("start");
  const seed = el("input", { type: "number", id: `${id}-seed`, min: 0, max: 4294967295, step: 1, value: memory.seed ?? 0, inputmode: "numeric" });
  const throwing = el("button", { type: "button", class: "small", "aria-label": "Another seed", title: "Another seed", onclick: () => { seed.value = dice(); seed.dispatchEvent(new Event("change")); } }, "⚄");
  const boxes = [el("div", { class: "field" }, el("label", { htmlFor: seed.id }, "Seed"), el("div", { class: "row" }, seed, throwing), el("p", { class: "help" }, "The same seed gives the same images."))];
  let label = null;
  if (model.conditional ?? model.classes.length > 0) {
    label = el("select", { id: `${id}-label` }, el("option", { value: "" }, "any"), model.classes.map((name) => el("option", { value: name }, name)));
    label.value = memory.label ?? "";
    boxes.push(el("div", { class: "field" }, el("label", { htmlFor: label.id }, "Label"), label));
    label.addEventListener("change", () => { memory.label = label.value; change(); });
  }
  seed.addEventListener("change", () => { memory.seed = Number(seed.value); change(); });
  return {
    boxes,
    seed: () => Number(seed.value) || 0,
    label: () => label?.value || null,
    set(newSeed, newLabel) {
      seed.value = memory.seed = newSeed;
      if (label) label.value = memory.label = newLabel ?? "";
    },
  };
}
