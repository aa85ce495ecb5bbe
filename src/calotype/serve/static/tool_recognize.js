// What an image shows, whether it was generated, and where it says that it comes from.

import { announce, coded, el, number } from "./dom.js";
import { post } from "./api.js";
import { picture, well } from "./picture.js";
import { work } from "./work.js";

const WORDS = {
  classify: ["Classify", "What does this image show? The model gives its classes with probabilities, and says so where an image is unlike all that it knows."],
  detect: ["Detect", "Was this image generated? The answer is only as good as what the detector was tested on."],
  trace: ["Trace", "Where does this image say that it comes from? Pictures made here carry their recipe; Trace reads it."],
};

export function make({ model, ability, stage, controls, given, spare, alive, sampler, nameOf }) {
  const [verb, words] = WORDS[ability];
  const image = well("Image", (base64) => base64 && asking.run(), sampler);
  const answer = el("div", { class: "answer", "aria-live": "polite" });
  const asking = work(verb, answer, ask);

  async function ask(signal) {
    const body = { image: image.value() };
    if (!body.image) throw new Error("Choose an image first.");
    const said = await post(ability === "trace" ? "/v1/trace" : `/v1/models/${model.id}/${ability}`, ability === "classify" ? { ...body, top: 10 } : body, signal);
    if (!alive()) return;
    answer.replaceChildren(...(ability === "classify" ? classes(said) : ability === "detect" ? verdict(said) : traced(said, nameOf)));
    stage.replaceChildren(el("div", { class: "asked" }, picture(body.image, "The image asked about"), answer));
    announce(`${verb}: done`);
  }
  controls.append(image.box, asking.box);
  stage.replaceChildren(el("div", { class: "empty" }, el("h2", {}, verb), el("p", {}, words)));
  if (given) image.set(given.image, "made here");
  spare(image.end);
  spare(asking.end);
  return { run: asking.run };
}

function classes(said) {
  const most = said.classes[0];
  const rows = said.classes.map((one) =>
    el("li", {}, el("span", { class: "bar-name" }, one.name), el("meter", { min: 0, max: 1, value: one.probability, "aria-hidden": "true" }), el("span", { class: "bar-value" }, percent(one.probability))));
  return [
    el("h2", {}, most ? String(most.name) : "No class"),
    said.unlike ? el("p", { class: "caution" }, "This image is unlike those that the model has learned: do not rely on the answer.") : "",
    el("ol", { class: "bars" }, rows),
    el("details", { class: "more" }, el("summary", {}, "Details"), table(rest(said, ["classes", "unlike"]))),
  ];
}

function verdict(said) {
  if (said.error) return [el("h2", {}, "This image cannot be judged"), el("p", {}, said.error)];
  const words = { GENERATED: "Generated", REAL: "Not generated, as far as it can tell", "CANNOT TELL": "It cannot tell" };
  const share = said.probability;
  const evidence = (said.evidence ?? []).map((one) => el("li", {}, `${one.kind}: ${number(one.value, 3)}, separates its samples from real images with AUC ${number(one.auc, 2)}`));
  return [
    el("h2", {}, words[said.answer] ?? said.answer),
    share !== null && share !== undefined ? el("ol", { class: "bars" }, el("li", {}, el("span", { class: "bar-name" }, "generated"), el("meter", { min: 0, max: 1, value: share, "aria-hidden": "true" }), el("span", { class: "bar-value" }, percent(share)))) : "",
    ...[said.reason, said.marker].filter(Boolean).map((words) => el("p", {}, coded(words))),
    evidence.length ? el("ul", {}, evidence) : "",
    ...[said.doubt, said.trust].filter(Boolean).map((words) => el("p", { class: "caution" }, coded(words))),
  ];
}

const FIRST = ["making", "recipe", "seed", "index", "label"]; // of a marker, in the order in which people ask

function traced(said, nameOf) {
  const one = said.files?.[0] ?? said;
  const marker = one.marker;
  if (!marker && one.error && one.kind !== "unmarked") {
    const title = one.kind === "altered" ? "The marker of this image was altered or damaged" : "This image cannot be read";
    return [el("h2", {}, title), el("p", { class: "caution" }, sentence(one.error))];
  }
  if (!marker) {
    const note = "It may be a photograph, come from a program that writes no such mark, or have lost it on the way.";
    return [el("h2", {}, "This image says nothing of its making"), el("p", {}, note), table(rest(one, ["marker", "earlier", "file", "cells", "error", "kind"]))];
  }
  const again = { "the same": "The model drew it anew: the same, bit for bit.", "not tried": "No model of this service made it, so it was not drawn anew." }[one.remade] ?? `Drawn anew: ${one.remade}.`;
  const facts = { ...(one.model ? { model: nameOf(one.model) } : {}), ...Object.fromEntries(FIRST.map((name) => [name, marker[name]])), ...rest(marker, FIRST) };
  return [
    el("h2", {}, "This image says how it was made"),
    el("p", {}, again),
    one.error ? el("p", { class: "caution" }, sentence(one.error)) : "",
    table(facts),
    (one.earlier ?? []).length ? el("h3", {}, "Made of") : "",
    ...(one.earlier ?? []).map((each) => table(each)),
    el("details", { class: "more" }, el("summary", {}, "Details"), table(rest(one, ["marker", "earlier", "file", "cells", "remade", "model", "error", "kind"]))),
  ];
}

const percent = (share) => (share > 0.995 && share < 1 ? "> 99%" : share < 0.005 ? "< 1%" : `${Math.round(100 * share)}%`);
const sentence = (words) => coded(`${words[0].toUpperCase()}${words.slice(1)}.`);
const rest = (said, left) => Object.fromEntries(Object.entries(said).filter(([name]) => !left.includes(name)));

/** Facts of an answer by name; what says nothing stays away. */
function table(facts) {
  const say = (value) => (typeof value === "number" ? number(value) : typeof value === "object" ? plain(value) : String(value));
  const plain = (value) => (Array.isArray(value) ? value.map(say).join(", ") : Object.entries(value).map(([name, one]) => `${name} ${say(one)}`).join(", "));
  const rows = Object.entries(facts).filter(([, value]) => value !== null && value !== undefined && value !== "" && !(Array.isArray(value) && !value.length));
  return el("dl", { class: "facts" }, rows.map(([name, value]) => el("div", {}, el("dt", {}, name.replaceAll("_", " ")), el("dd", {}, say(value)))));
}
