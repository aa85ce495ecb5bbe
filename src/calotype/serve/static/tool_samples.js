// Images drawn from a model.

import { $, announce, dice, el, fresh } from "./dom.js";
import { post } from "./api.js";
import { fields } from "./fields.js";
import { picture, tray } from "./picture.js";
import { start } from "./start.js";
import { view } from "./viewer.js";
import { work } from "./work.js";

/** An image of an answer with its recipe: what the viewer, the tray and the gallery need. */
export function itemOf(answer, model, ability, body, position = 0) {
  const label = answer.label ?? body.label ?? null;
  const options = Object.entries(body.options ?? {}).map(([name, value]) => `${name} ${value}`).join(", ");
  const name = [model.name, ability, answer.seed !== undefined && `seed ${answer.seed}`, answer.index !== undefined && `image ${answer.index}`].filter(Boolean).join("-").replaceAll(/[^\w.-]+/g, "-");
  return {
    image: answer.image,
    name,
    label,
    seed: answer.seed ?? body.seed,
    index: answer.index ?? 0,
    model,
    alt: `${ability === "sample" ? "A sample" : "An image"} of ${model.name}${label === null ? "" : `, class ${label}`}`,
    title: label === null ? (ability === "sample" ? "Sample" : "Image") : String(label),
    facts: { model: model.name, made: ability, seed: answer.seed ?? body.seed, image: answer.index, label, options: options || "the model's own" },
    from: { ability, model: model.id, body, index: position },
  };
}

/** A grid of images, each a button that opens it. */
export function grid(items, ways) {
  const box = el("ul", { class: "grid" });
  items.forEach((item, index) => {
    const alt = `${item.alt ?? "image"}, ${index + 1} of ${items.length}: open it`;
    const caption = item.label === null || item.label === undefined ? null : el("span", { class: "cap", "aria-hidden": "true" }, String(item.label));
    box.append(el("li", {}, el("button", { type: "button", class: "cell", "aria-label": alt, onclick: () => view(items, index, ways) }, picture(item.image, ""), caption)));
  });
  return box;
}

export function make({ model, memory, ways, stage, controls, spare, alive }) {
  const id = fresh("samples");
  const most = model.most ?? 64;
  const count = el("input", { type: "range", id: `${id}-count`, min: 1, max: most, value: Math.min(most, memory.count ?? 16) });
  const counted = el("output", { htmlFor: count.id }, count.value);
  count.addEventListener("input", () => { counted.value = count.value; memory.count = Number(count.value); });
  const from = start(model, memory);
  const options = fields(model.options);
  const drawing = work("Make samples", stage, draw, { refused: (error) => options.refused(error) });
  const another = el("button", { type: "button", onclick: () => { from.set(dice(), from.label()); drawing.run(); } }, "Another seed");
  controls.append(
    el("div", { class: "field" }, el("label", { htmlFor: count.id }, "Images"), el("div", { class: "row" }, count, counted)),
    ...from.boxes,
    options.list.length ? el("details", { class: "more", open: matchMedia("(min-width: 60rem)").matches }, el("summary", {}, "How it draws"), ...options.boxes) : "",
    el("div", { class: "row acts" }, drawing.box, another),
  );

  async function draw(signal) {
    options.clear();
    const body = { n: Number(count.value), seed: from.seed(), index: 0, label: from.label(), options: options.values() };
    const begun = performance.now();
    if (!$(".grid", stage)) stage.replaceChildren(el("ul", { class: "grid", "aria-hidden": "true" }, Array.from({ length: body.n }, () => el("li", {}, el("div", { class: "cell waiting" })))));
    const answer = await post(`/v1/models/${model.id}/sample`, body, signal);
    if (!alive()) return;
    const took = performance.now() - begun;
    const items = answer.images.map((one, index) => itemOf(one, model, "sample", body, index));
    tray.add(items);
    const line = `${items.length} ${items.length === 1 ? "image" : "images"} in ${took < 1000 ? `${Math.round(took)} ms` : `${(took / 1000).toFixed(1)} s`}`;
    stage.replaceChildren(grid(items, ways), el("p", { class: "quiet" }, `${line}. Open one to keep it, download it or go on from it.`));
    announce(line);
  }
  spare(drawing.end);
  if (!$("img", stage)) drawing.run();
  return { run: drawing.run };
}
