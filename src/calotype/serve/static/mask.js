// A mask painted on a picture: with mouse, pen or finger, with keys, or by the half. What is painted is to be made anew.

import { $, announce, el, fresh } from "./dom.js";

const PARTS = { "top half": [0, 0, 1, 0.5], "bottom half": [0, 0.5, 1, 0.5], "left half": [0, 0, 0.5, 1], "right half": [0.5, 0, 0.5, 1], middle: [0.25, 0.25, 0.5, 0.5], everything: [0, 0, 1, 1] };

/** `image` is decoded; `full(width, height)` says the size that the model makes, which the mask has. */
export function painter(image, width, height) {
  const id = fresh("mask");
  const mask = el("canvas", { width, height }); // opaque where painted; as many pixels as the model makes
  const shown = el("canvas", {
    width, height, class: "mask-canvas pixels", id, tabindex: 0, role: "application",
    "aria-label": "Mask", "aria-describedby": `${id}-help`, "aria-roledescription": "painting area",
  });
  const pen = mask.getContext("2d", { willReadFrequently: true });
  const view = shown.getContext("2d");
  const size = el("input", { type: "range", min: 1, max: Math.max(2, Math.round(Math.max(width, height) / 3)), value: Math.max(1, Math.round(Math.max(width, height) / 8)), id: `${id}-size` });
  const erase = el("input", { type: "checkbox", id: `${id}-erase` });
  let past = [];
  let cursor = [Math.floor(width / 2), Math.floor(height / 2)];
  let last = null;
  let keyed = false;

  function draw() {
    view.globalAlpha = 1;
    view.drawImage(image, 0, 0, width, height);
    view.globalAlpha = 0.72;
    view.drawImage(mask, 0, 0);
    if (!keyed || document.activeElement !== shown) return;
    view.globalAlpha = 1;
    view.strokeStyle = "#ff3b7f";
    view.lineWidth = Math.max(0.5, width / 120);
    const side = Number(size.value);
    view.strokeRect(cursor[0] - side / 2 + 0.5, cursor[1] - side / 2 + 0.5, side, side);
  }
  function remember() {
    past.push(pen.getImageData(0, 0, width, height));
    past = past.slice(-20);
  }
  function dab(x, y) {
    const side = Number(size.value);
    pen.globalCompositeOperation = erase.checked ? "destination-out" : "source-over";
    pen.fillStyle = "#ff3b7f";
    pen.fillRect(Math.round(x - side / 2 + 0.5), Math.round(y - side / 2 + 0.5), side, side);
  }
  function stroke(from, to) {
    const count = Math.max(1, Math.ceil(Math.hypot(to[0] - from[0], to[1] - from[1])));
    for (let part = 0; part <= count; part++) dab(from[0] + ((to[0] - from[0]) * part) / count, from[1] + ((to[1] - from[1]) * part) / count);
    draw();
  }
  const place = (event) => {
    const area = shown.getBoundingClientRect();
    return [Math.floor(((event.clientX - area.left) / area.width) * width), Math.floor(((event.clientY - area.top) / area.height) * height)];
  };
  shown.addEventListener("pointerdown", (event) => {
    shown.setPointerCapture(event.pointerId);
    keyed = false;
    remember();
    last = place(event);
    stroke(last, last);
  });
  shown.addEventListener("pointermove", (event) => {
    if (!shown.hasPointerCapture(event.pointerId) || !last) return;
    const here = place(event);
    stroke(last, here);
    last = here;
  });
  shown.addEventListener("pointerup", () => (last = null));
  shown.addEventListener("blur", draw);
  shown.addEventListener("focus", () => { keyed = shown.matches(":focus-visible"); draw(); });
  shown.addEventListener("keydown", (event) => {
    const step = event.shiftKey ? Number(size.value) : 1;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    keyed = true;
    if (moves[event.key]) cursor = [clamp(cursor[0] + moves[event.key][0], width), clamp(cursor[1] + moves[event.key][1], height)];
    else if (event.key === " " || event.key === "Enter") { remember(); dab(...cursor); announce(`Painted at ${cursor[0] + 1}, ${cursor[1] + 1}`); }
    else if (event.key === "z" && (event.ctrlKey || event.metaKey)) undo();
    else return;
    event.preventDefault();
    draw();
  });
  const clamp = (value, most) => Math.max(0, Math.min(most - 1, value));
  function undo() {
    const before = past.pop();
    if (before) pen.putImageData(before, 0, 0);
    draw();
  }
  function clear() {
    remember();
    pen.clearRect(0, 0, width, height);
    draw();
  }
  function part(name) {
    remember();
    const [left, top, wide, high] = PARTS[name];
    pen.globalCompositeOperation = erase.checked ? "destination-out" : "source-over";
    pen.fillStyle = "#ff3b7f";
    const [x, y] = [Math.round(left * width), Math.round(top * height)];
    pen.fillRect(x, y, Math.round((left + wide) * width) - x, Math.round((top + high) * height) - y);
    draw();
    announce(`${erase.checked ? "Erased" : "Painted"} ${name}`);
  }
  const parts = Object.keys(PARTS).map((name) => el("button", { type: "button", class: "small", onclick: () => part(name) }, name));
  const box = el(
    "div",
    { class: "mask" },
    shown,
    el("p", { class: "help", id: `${id}-help` }, "Paint over what is to be made anew. With keys: arrows move, Space paints, Ctrl+Z takes back."),
    el("div", { class: "row" }, el("label", { htmlFor: size.id }, "Brush"), size, el("label", { htmlFor: erase.id, class: "inline" }, erase, " Erase")),
    el("div", { class: "row wrap", role: "group", "aria-label": "Paint a part" }, parts),
    el("div", { class: "row wrap" }, el("button", { type: "button", class: "small", onclick: undo }, "Undo"), el("button", { type: "button", class: "small", onclick: clear }, "Clear")),
  );
  size.addEventListener("input", draw);
  draw();
  return { box, value: () => asPng(pen, width, height), part, empty: () => !pen.getImageData(0, 0, width, height).data.some((value, index) => index % 4 === 3 && value > 0), canvas: () => $("canvas", box) };
}

/** The mask as the service takes it: base64 of a PNG, white where to paint and black elsewhere. */
function asPng(pen, width, height) {
  const painted = pen.getImageData(0, 0, width, height);
  const flat = el("canvas", { width, height });
  const plain = flat.getContext("2d");
  const out = plain.createImageData(width, height);
  for (let at = 0; at < out.data.length; at += 4) {
    const value = painted.data[at + 3] > 0 ? 255 : 0;
    out.data.set([value, value, value, 255], at);
  }
  plain.putImageData(out, 0, 0);
  return flat.toDataURL("image/png").split(",")[1];
}
