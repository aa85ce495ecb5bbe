// Curves of a training, drawn as SVG. Pointing at one, or arrow keys, reads the numbers of a step.

import { el, fresh, number, svg } from "./dom.js";

const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [340, 150, 44, 6, 8, 20];
const POINTS = 340; // of a curve at most: a pixel each

/** Keys of log rows in groups that belong into one drawing: {title: [key, ...]}, losses first. */
export function groups(rows) {
  const left = new Set(["step", "images", "seconds", "holdout_images", "event", "to"]);
  const keys = [...new Set(rows.flatMap((row) => Object.keys(row)))].filter((key) => !left.has(key) && rows.some((row) => typeof row[key] === "number"));
  const found = {};
  const stems = keys.map((key) => stem(key));
  keys.forEach((key, index) => {
    const shared = stems.filter((one) => one === stems[index]).length > 1;
    (found[shared ? stems[index] : key.replaceAll("_", " ")] ??= []).push(key);
  });
  const rank = (title) => (/loss/.test(title) ? 0 : /bits|auc|accuracy|distance|fd/.test(title) ? 1 : /gradient|second|scale/.test(title) ? 3 : 2);
  return Object.fromEntries(Object.entries(found).sort(([one], [other]) => rank(one) - rank(other)));
}

/** What `player/loss` of several players, or `d_real` and `d_fake`, have in common. */
function stem(key) {
  const [player, name] = key.includes("/") ? key.split("/") : ["", key];
  if (name === "loss" || name.endsWith("gradient_norm")) return name.replaceAll("_", " ");
  if (name === "images_per_second" || name === "lr_scale" || /(accuracy|auc)$/.test(name)) return name.replaceAll("_", " ");
  return `${player ? `${player} ` : ""}${name.split("_")[0]}_*`;
}

/** The ends of an axis and the ticks between them, on round numbers. */
export function ticks(low, high, count = 4) {
  if (!(high > low)) [low, high] = [low - Math.max(1e-6, Math.abs(low) / 10), high + Math.max(1e-6, Math.abs(high) / 10)];
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((one) => one * power).find((one) => one >= rough * 0.999);
  const made = [];
  for (let at = Math.ceil(low / step - 1e-9) * step; at <= high + step * 1e-9; at += step) made.push(Number(at.toPrecision(12)));
  return { low, high, at: made };
}

/** At most so many rows: of each stretch the smallest and the largest, so that no spike is lost. */
function thinned(points) {
  if (points.length <= POINTS) return points;
  const size = (2 * points.length) / POINTS;
  const kept = [];
  for (let from = 0; from < points.length; from += size) {
    const part = points.slice(Math.floor(from), Math.floor(from + size));
    if (!part.length) continue;
    const sorted = [...part].sort((one, other) => one[1] - other[1]);
    kept.push(...[sorted[0], sorted.at(-1)].sort((one, other) => one[0] - other[0]));
  }
  return kept;
}

/** One drawing of `series` [{name, key}]; `update(rowsOf)` draws it anew, where `rowsOf(one)` are the log rows of one curve. */
export function chart(title, series) {
  const id = fresh("chart");
  const said = el("span", { class: "quiet" });
  const values = series.map(() => el("output", {}));
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", tabindex: 0, "aria-labelledby": `${id}-title` });
  const box = el(
    "figure",
    { class: "chart", dataset: { title } },
    el("figcaption", {}, el("span", { id: `${id}-title` }, title), said),
    drawing,
    series.length > 1 ? el("ul", { class: "legend" }, series.map((one, index) => el("li", { class: `s${index % 5}` }, one.name, values[index]))) : "",
  );
  let curves = [];
  let [x, y, cursor] = [null, null, null];
  const across = (step) => LEFT + ((step - x.low) / (x.high - x.low || 1)) * (WIDTH - LEFT - RIGHT);
  const up = (value) => HEIGHT - BOTTOM - ((value - y.low) / (y.high - y.low || 1)) * (HEIGHT - TOP - BOTTOM);

  function update(rowsOf) {
    curves = series.map((one) => thinned(rowsOf(one).filter((row) => Number.isFinite(row[one.key])).map((row) => [row.step, row[one.key]])));
    const all = curves.flat();
    drawing.replaceChildren();
    if (!all.length) return;
    const heights = all.map((point) => point[1]);
    const steps = all.map((point) => point[0]);
    y = ticks(least(heights), most(heights));
    x = ticks(least(steps), most(steps));
    y.at.forEach((value) => drawing.append(
      svg("line", { class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: up(value), y2: up(value) }),
      svg("text", { x: LEFT - 6, y: up(value) + 3, "text-anchor": "end" }, number(value, 3)),
    ));
    x.at.forEach((step) => drawing.append(svg("text", { x: across(step), y: HEIGHT - 5, "text-anchor": "middle" }, number(step))));
    curves.forEach((points, index) => {
      const path = points.map(([step, value], place) => `${place ? "L" : "M"}${across(step).toFixed(1)} ${up(value).toFixed(1)}`).join("");
      drawing.append(svg("path", { class: `s${index % 5}`, d: path }));
    });
    if (cursor === null) tell(null);
    else point(cursor);
  }
  function point(step) {
    cursor = step;
    drawing.querySelectorAll(".cursor, .mark-dot").forEach((one) => one.remove());
    const near = curves.map((points) => nearest(points, step));
    const at = near.find(Boolean)?.[0];
    if (at === undefined) return;
    drawing.append(svg("line", { class: "cursor", x1: across(at), x2: across(at), y1: TOP, y2: HEIGHT - BOTTOM }));
    near.forEach((one, index) => one && drawing.append(svg("circle", { class: `mark-dot s${index % 5}`, cx: across(one[0]), cy: up(one[1]), r: 2.5 })));
    tell(near);
  }
  function tell(near) {
    const last = near ?? curves.map((points) => points.at(-1));
    last.forEach((one, index) => (values[index].value = one ? number(one[1], 3) : "none"));
    const at = near ? `step ${number(near.find(Boolean)[0])}` : "";
    said.textContent = series.length > 1 ? at : [at, values[0].value].filter(Boolean).join(": ");
  }
  function leave() {
    cursor = null;
    drawing.querySelectorAll(".cursor, .mark-dot").forEach((one) => one.remove());
    tell(null);
  }
  drawing.addEventListener("pointermove", (event) => {
    const area = drawing.getBoundingClientRect();
    const place = ((event.clientX - area.left) / area.width) * WIDTH;
    if (x) point(x.low + ((place - LEFT) / (WIDTH - LEFT - RIGHT)) * (x.high - x.low));
  });
  drawing.addEventListener("pointerleave", leave);
  drawing.addEventListener("blur", leave);
  drawing.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const points = curves.find((one) => one.length);
    if (!by || !points) return;
    event.preventDefault();
    const at = cursor === null ? points.length - 1 : points.indexOf(nearest(points, cursor)) + by;
    point(points[Math.max(0, Math.min(points.length - 1, at))][0]);
    said.setAttribute("aria-live", "polite");
  });
  return { box, update };
}

const least = (values) => values.reduce((one, other) => Math.min(one, other), Infinity);
const most = (values) => values.reduce((one, other) => Math.max(one, other), -Infinity);

function nearest(points, step) {
  let best = null;
  for (const one of points) if (!best || Math.abs(one[0] - step) < Math.abs(best[0] - step)) best = one;
  return best;
}
