// A picture of which a part is made anew: paint what is to go, and the model fills it.

import { announce, el, fresh } from "./dom.js";
import { post } from "./api.js";
import { beforeAfter } from "./beforeafter.js";
import { fields, withClasses } from "./fields.js";
import { painter } from "./mask.js";
import { decoded, tray, well } from "./picture.js";
import { start } from "./start.js";
import { grid, itemOf } from "./tool_samples.js";
import { work } from "./work.js";

export function make({ model, memory, ways, stage, controls, given, spare, sampler }) {
  const id = fresh("complete");
  let mask = null;
  const easel = el("div", { class: "easel" });
  const results = el("div", { class: "results" });
  const image = well("Image", opened, sampler);
  const count = el("input", { type: "range", id: `${id}-count`, min: 1, max: 16, value: memory.completions ?? 4 });
  const counted = el("output", { htmlFor: count.id }, count.value);
  count.addEventListener("input", () => { counted.value = count.value; memory.completions = Number(count.value); });
  const from = start({ ...model, conditional: false, classes: [] }, memory);
  const options = fields(withClasses(model.task_options?.complete ?? model.options, model), (name) => name !== "degrade");
  const filling = work("Complete", results, fill, { refused: (error) => options.refused(error) });

  async function opened(base64) {
    results.replaceChildren();
    filling.clear();
    mask = null;
    if (!base64) return;
    try {
      const [width, height] = sides(model);
      mask = painter(await decoded(base64), width, height);
      easel.replaceChildren(mask.box);
      if (!memory.painted) mask.part("bottom half");
    } catch {
      image.refuse(new Error("This image cannot be opened."));
    }
  }
  async function fill(signal) {
    options.clear();
    if (!mask) throw new Error("Choose an image first.");
    if (mask.empty()) throw new Error("Paint over the part that is to be made anew.");
    const body = { image: image.value(), mask: mask.value(), seed: from.seed(), n: Number(count.value), options: options.values() };
    const answer = await post(`/v1/models/${model.id}/complete`, body, signal);
    const items = answer.images.map((one, index) => itemOf(one, model, "complete", body, index));
    tray.add(items);
    results.replaceChildren(beforeAfter(image.value(), items[0].image), el("h3", {}, "All completions"), grid(items, ways));
    announce(`${items.length} completions`);
  }
  controls.append(
    image.box,
    el("div", { class: "field" }, el("label", { htmlFor: count.id }, "Completions"), el("div", { class: "row" }, count, counted)),
    ...from.boxes,
    options.list.length ? el("details", { class: "more" }, el("summary", {}, "How it draws"), ...options.boxes) : "",
    filling.box,
  );
  stage.replaceChildren(easel, results);
  easel.append(el("div", { class: "empty" }, el("h2", {}, "Paint, then complete"), el("p", {}, "Choose an image beside. Paint over what you do not want, and the model makes that part anew.")));
  if (given) image.set(given.image, "made here");
  spare(image.end);
  spare(filling.end);
  return { run: filling.run };
}

/** Width and height that a model makes; a model that makes nothing has none. */
export const sides = (model) => (Array.isArray(model.size) ? [model.size[1] ?? model.size[0], model.size[0]] : [model.size, model.size]);
