// Two pictures on top of each other with a divider between them: a slider, so that keys move it as well.

import { el, fresh } from "./dom.js";
import { picture } from "./picture.js";

/** `pairs` is what can be compared: [{name, image}], of which the first stands on the left and the second on the right. */
export function beforeAfter(before, after, names = ["before", "after"]) {
  const id = fresh("divider");
  const top = el("div", { class: "ba-top" }, picture(before, `The image ${names[0]}`));
  const under = el("div", { class: "ba-under" }, picture(after, `The image ${names[1]}`));
  const slider = el("input", { type: "range", id, class: "ba-slider", min: 0, max: 100, step: 1, value: 50, "aria-label": `Divider between ${names[0]} and ${names[1]}` });
  const line = el("div", { class: "ba-line", "aria-hidden": "true" });
  const box = el(
    "div",
    { class: "beforeafter" },
    under,
    top,
    line,
    el("span", { class: "ba-name left", "aria-hidden": "true" }, names[0]),
    el("span", { class: "ba-name right", "aria-hidden": "true" }, names[1]),
    slider,
  );
  function move() {
    const share = Number(slider.value);
    box.style.setProperty("--share", `${share}%`);
    slider.setAttribute("aria-valuetext", `${share}% ${names[0]}, ${100 - share}% ${names[1]}`);
  }
  slider.addEventListener("input", move);
  move();
  return box;
}
