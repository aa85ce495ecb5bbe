// A picture made better: restored, enlarged, colored or translated, with a divider between before and after.

import { announce, el } from "./dom.js";
import { post } from "./api.js";
import { beforeAfter } from "./beforeafter.js";
import { fields, joined, withClasses } from "./fields.js";
import { picture, tray, well } from "./picture.js";
import { start } from "./start.js";
import { itemOf } from "./tool_samples.js";
import { leave } from "./viewer.js";
import { work } from "./work.js";

const EXAMPLES = { restore: ["noise:25", "noise:50", "blur:1.6+noise:2"], upscale: ["downsample:2", "downsample:4"], colorize: ["gray", "gray+noise:5"] };

export const WORDS = {
  restore: ["Restore", "restored", "Noise, blur or damage goes, what the model knows of such images comes back."],
  upscale: ["Upscale", "enlarged", "More pixels than there were, made by what the model knows of such images."],
  colorize: ["Colorize", "colored", "Colors for a gray picture. They are likely ones, not the true ones."],
  translate: ["Translate", "translated", "A picture of one kind as one of the other kind."],
};

export function make({ model, ability, memory, stage, controls, given, spare, alive, sampler }) {
  const [verb, done, words] = WORDS[ability];
  const image = well("Image", (base64) => base64 && shown(base64), sampler);
  const usual = (name) => name === "degrade" || name === "sigma" || name === "direction"; // what people have to say most often
  const from = start({ ...model, conditional: false, classes: [] }, memory);
  const schema = withClasses(model.task_options?.[ability] ?? model.options, model);
  if (schema.properties.degrade) schema.properties.degrade = { ...schema.properties.degrade, default: EXAMPLES[ability][0], examples: EXAMPLES[ability], description: "What was done to the picture: noise by its level of 255, blur by its width in pixels, several joined by +" };
  const first = fields(schema, usual);
  const options = joined(first, fields(schema, (name) => !usual(name)));
  const working = work(verb, stage, run, { refused: (error) => options.refused(error) });

  function shown(base64) {
    if (!alive()) return;
    working.clear();
    stage.replaceChildren(el("div", { class: "solo" }, picture(base64, "The image to work on"), el("p", { class: "quiet" }, `${verb} it by the button, or press Ctrl and Enter.`)));
  }
  async function run(signal) {
    options.clear();
    const before = image.value();
    if (!before) throw new Error("Choose an image first.");
    const body = { image: before, seed: from.seed(), options: options.values() };
    const answer = await post(`/v1/models/${model.id}/${ability}`, body, signal);
    if (!alive()) return;
    const items = answer.images.map((one, index) => itemOf(one, model, ability, body, index));
    tray.add(items.slice(0, 1));
    const wrong = el("div");
    stage.replaceChildren(
      el("div", { class: "restored" }, beforeAfter(before, items[0].image, ["before", done]), answer.uncertainty ? uncertain(answer.uncertainty) : ""),
      el("div", { class: "row wrap acts" }, leave(items[0], wrong), el("button", { type: "button", onclick: () => image.set(items[0].image, "the result") }, "Go on from the result")),
      ...(items.length > 1 ? [el("h3", {}, "Other answers that fit as well"), el("div", { class: "strip large" }, items.slice(1).map((item, index) => picture(item.image, `Answer ${index + 2}`)))] : []),
      wrong,
    );
    announce(`The image is ${done}`);
  }
  controls.append(
    image.box,
    ...first.boxes,
    ...from.boxes,
    options.rest.list.length ? el("details", { class: "more" }, el("summary", {}, "How it works"), ...options.rest.boxes) : "",
    working.box,
  );
  stage.replaceChildren(el("div", { class: "empty" }, el("h2", {}, verb), el("p", {}, words)));
  if (given) image.set(given.image, "made here");
  spare(image.end);
  spare(working.end);
  return { run: working.run };
}

/** Where the answers differ: bright where the model is unsure. */
function uncertain(map) {
  return el("figure", { class: "uncertain" }, picture(map, "Map of uncertainty: bright where the model is unsure"), el("figcaption", {}, "Uncertainty: bright where answers differ, dark where they agree."));
}
