// The way between two images of a model, frame by frame.

import { announce, dice, el, fresh } from "./dom.js";
import { post } from "./api.js";
import { picture, tray } from "./picture.js";
import { itemOf } from "./tool_samples.js";
import { leave } from "./viewer.js";
import { work } from "./work.js";

export function make({ model, memory, stage, controls, given, spare, alive }) {
  const id = fresh("way");
  memory.ends ??= {};
  if (given) memory.ends[given.side] = given;
  const ends = memory.ends;
  const wells = el("div", { class: "ends" });
  const frames = el("input", { type: "range", id: `${id}-frames`, min: 3, max: 32, value: memory.frames ?? 12 });
  const counted = el("output", { htmlFor: frames.id }, frames.value);
  frames.addEventListener("input", () => { counted.value = frames.value; memory.frames = Number(frames.value); });
  const walking = work("Walk between them", stage, walk);

  async function random(side, signal) {
    const seed = dice();
    const body = { n: 1, seed, index: 0, label: null, options: {} };
    const answer = await post(`/v1/models/${model.id}/sample`, body, signal);
    ends[side] = itemOf(answer.images[0], model, "sample", body);
  }
  async function prepare(signal) {
    for (const side of ["from", "to"]) if (!ends[side] && alive()) await random(side, signal);
    fill();
  }
  function fill() {
    const mine = tray.items.filter((item) => item.model.id === model.id && item.seed !== undefined && item.from.ability === "sample").slice(0, 10);
    const side = (name, words) =>
      el("fieldset", {}, el("legend", {}, words),
        ends[name] ? el("div", { class: "end-shown" }, picture(ends[name].image, `${words}: seed ${ends[name].seed}`)) : "",
        el("div", { class: "strip" },
          el("button", { type: "button", class: "small", onclick: async () => { await random(name); if (alive()) { fill(); walking.run(); } } }, "Another"),
          mine.map((item, index) => el("button", {
            type: "button", class: "thumb", "aria-label": `${words}: take image ${index + 1} made here`, "aria-pressed": String(ends[name] === item),
            onclick: () => { ends[name] = item; fill(); walking.run(); },
          }, picture(item.image, "")))));
    wells.replaceChildren(side("from", "From"), side("to", "To"));
  }
  async function walk(signal) {
    if (!ends.from || !ends.to) await prepare(signal);
    if (!alive()) return;
    const point = (item) => ({ seed: item.seed, index: item.index ?? 0, label: item.label });
    const body = { from: point(ends.from), to: point(ends.to), frames: Number(frames.value) };
    const answer = await post(`/v1/models/${model.id}/interpolate`, body, signal);
    if (!alive()) return;
    show(answer.images.map((one, index) => itemOf(one, model, "interpolate", body, index)));
    announce(`${answer.images.length} frames`);
  }
  function show(items) {
    const wrong = el("div");
    const big = el("div", { class: "big" });
    const acts = el("div", { class: "row wrap acts" });
    const scrub = el("input", { type: "range", min: 0, max: items.length - 1, step: 1, value: 0, "aria-label": "Frame" });
    const strip = el("div", { class: "film", "aria-hidden": "true" }, items.map((item) => picture(item.image, "")));
    const play = el("button", { type: "button", "aria-pressed": "false" }, "Play");
    let timer = 0;
    function at(index) {
      scrub.value = index;
      scrub.setAttribute("aria-valuetext", `frame ${index + 1} of ${items.length}`);
      big.replaceChildren(picture(items[index].image, `Frame ${index + 1} of ${items.length}`));
      [...strip.children].forEach((one, place) => one.classList.toggle("now", place === index));
      acts.replaceChildren(play, ...leave(items[index], wrong));
    }
    function stop() {
      clearInterval(timer);
      timer = 0;
      play.textContent = "Play";
      play.setAttribute("aria-pressed", "false");
    }
    play.addEventListener("click", () => {
      if (timer) { stop(); return; }
      let [place, by] = [Number(scrub.value), 1];
      play.textContent = "Pause";
      play.setAttribute("aria-pressed", "true");
      timer = setInterval(() => {
        if (!play.isConnected) { stop(); return; }
        if (place + by < 0 || place + by >= items.length) by = -by;
        place += by;
        at(place);
        play.focus({ preventScroll: true });
      }, 120);
    });
    scrub.addEventListener("input", () => { stop(); at(Number(scrub.value)); });
    stage.replaceChildren(el("div", { class: "explorer" }, big, scrub, strip, acts, wrong));
    at(Math.floor(items.length / 2));
  }
  controls.append(wells, el("div", { class: "field" }, el("label", { htmlFor: frames.id }, "Frames"), el("div", { class: "row" }, frames, counted)), walking.box);
  spare(tray.hear(fill));
  spare(walking.end);
  prepare().then(() => walking.run(), () => walking.run());
  return { run: walking.run };
}
