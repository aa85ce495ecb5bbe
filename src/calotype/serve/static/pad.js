// A pad with two axes: pull, tap or arrow keys. Home goes to the middle.

import { el, fresh } from "./dom.js";

const STEPS = 40; // of the keys, from end to end

/** `change(x, y)` hears of every move, both from -1 to 1, y upwards. `read(x, y)` says the place in words. */
export function pad(label, change, read) {
  const id = fresh("pad");
  const dot = el("div", { class: "pad-dot", "aria-hidden": "true" });
  const help = el("p", { class: "help", id: `${id}-help` }, "Pull the dot, or use the arrow keys (with Shift for large steps, Home for the middle).");
  const box = el(
    "div",
    { class: "pad", id, tabindex: 0, role: "slider", "aria-label": label, "aria-valuemin": -100, "aria-valuemax": 100, "aria-valuenow": 0, "aria-describedby": `${id}-help` },
    el("span", { class: "pad-axis x", "aria-hidden": "true" }),
    el("span", { class: "pad-axis y", "aria-hidden": "true" }),
    dot,
  );
  let [x, y] = [0, 0];

  const within = (value) => Math.max(-1, Math.min(1, value));
  function show() {
    box.style.setProperty("--x", `${50 + 50 * x}%`);
    box.style.setProperty("--y", `${50 - 50 * y}%`);
    box.setAttribute("aria-valuenow", Math.round(100 * x));
    box.setAttribute("aria-valuetext", read(x, y));
  }
  function set(nx, ny, tell = true) {
    [x, y] = [within(nx), within(ny)];
    show();
    if (tell) change(x, y);
  }
  function follow(event) {
    const area = box.getBoundingClientRect();
    set((2 * (event.clientX - area.left)) / area.width - 1, 1 - (2 * (event.clientY - area.top)) / area.height);
  }
  box.addEventListener("pointerdown", (event) => { box.setPointerCapture(event.pointerId); box.focus(); follow(event); event.preventDefault(); });
  box.addEventListener("pointermove", (event) => { if (box.hasPointerCapture(event.pointerId)) follow(event); });
  box.addEventListener("dblclick", () => set(0, 0));
  box.addEventListener("keydown", (event) => {
    const step = (event.shiftKey ? 5 : 1) * (2 / STEPS);
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
    if (event.key === "Home") set(0, 0);
    else if (moves[event.key]) set(x + moves[event.key][0], y + moves[event.key][1]);
    else return;
    event.preventDefault();
  });
  show();
  return { box: el("div", { class: "pad-field" }, box, help), set, name: (words) => { box.setAttribute("aria-label", words); show(); } };
}
