// Elements, messages and other small things that every page needs. Text goes in as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element: properties by name (class, dataset, on..., attributes), then children, which are nodes or text. */
export function el(name, properties = {}, ...children) {
  return fill(document.createElement(name), properties, children);
}

/** The same for drawings. */
export function svg(name, properties = {}, ...children) {
  return fill(document.createElementNS(SVG, name), properties, children);
}

function fill(node, properties, children) {
  for (const [key, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "dataset") Object.assign(node.dataset, value);
    else if (key === "value" || key === "checked" || key === "disabled" || key === "htmlFor") node[key] = value;
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export const $ = (selector, root = document) => root.querySelector(selector);
export const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

let numbered = 0;
/** An id that no other element has. */
export const fresh = (stem) => `${stem}-${++numbered}`;

/** Say something to those who do not see the page change. */
export function announce(words) {
  const place = $("#announcer");
  place.textContent = "";
  requestAnimationFrame(() => (place.textContent = words));
}

/**
 * A short message at the foot of the page; with `action` {label, run, next} it waits longer and can be taken back. Resolves false where it was.
 * With `next` its button takes the focus, and where that is still there when the message ends, `next()` is called to move it on.
 */
export function toast(words, action = null) {
  return new Promise((resolve) => {
    let timer = 0;
    const end = (went) => {
      clearTimeout(timer);
      const focused = note.contains(document.activeElement);
      note.remove();
      if (went && focused) action?.next?.();
      resolve(went);
    };
    const back = action && el("button", { type: "button", class: "link", onclick: () => { action.run?.(); end(false); } }, action.label);
    const note = el("div", { class: "toast", role: "status" }, el("span", {}, words), back);
    const wait = () => {
      clearTimeout(timer);
      timer = setTimeout(() => end(true), action ? 8000 : 4000);
    };
    note.addEventListener("pointerenter", () => clearTimeout(timer));
    note.addEventListener("focusin", () => clearTimeout(timer));
    note.addEventListener("pointerleave", wait);
    note.addEventListener("focusout", wait);
    $("#toasts").append(note);
    if (action?.next) back.focus();
    wait(); // also where the button took the focus by itself
  });
}

/** An error where it happened: what is wrong, and what is allowed. An empty one goes away. */
export function problem(place, error = null) {
  place.replaceChildren();
  if (!error) return;
  const allowed = Array.isArray(error.allowed) && error.allowed.length ? `Possible: ${error.allowed.join(", ")}.` : "";
  place.append(el("div", { class: "problem", role: "alert" }, el("p", {}, coded(error.message)), allowed && el("p", { class: "quiet" }, allowed)));
}

/** Words whose parts between backticks are code. */
export function coded(words) {
  const parts = String(words).split("`");
  return el("span", {}, ...parts.map((part, index) => (index % 2 ? el("code", {}, part) : part)));
}

/** What stands where nothing is yet. */
export function empty(title, words, ...more) {
  return el("div", { class: "empty" }, el("h2", {}, title), el("p", {}, words), ...more);
}

/** A state of a verdict or a run as a word in its color, with a symbol for those who see no colors. */
export function status(word) {
  const symbols = { fail: "✕", failed: "✕", warn: "!", pass: "✓", finished: "✓", training: "●", stopped: "■", queued: "…" };
  const name = word.toLowerCase().replaceAll(" ", "-");
  return el("span", { class: `status is-${name}` }, el("b", { "aria-hidden": "true" }, symbols[name] ?? "?"), word);
}

/** Seconds as people say them. */
export function duration(seconds) {
  if (seconds < 1) return "less than a second";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

/** A number as short as it can be read exactly enough. */
export function number(value, digits = 4) {
  if (value === null || value === undefined || Number.isNaN(value)) return "none";
  if (Number.isInteger(value)) return value.toLocaleString("en");
  return Math.abs(value) >= 1e5 || Math.abs(value) < 1e-3 ? value.toExponential(2) : String(Number(value.toPrecision(digits)));
}

/** When something was, in the reader's own time. */
export function when(iso) {
  const date = new Date(iso);
  if (Number.isNaN(date.valueOf())) return "";
  const today = new Date().toDateString() === date.toDateString();
  const time = date.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  return today ? `today ${time}` : `${date.toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" })} ${time}`;
}

/** A random seed that fits every field of seeds. */
export const dice = () => Math.floor(Math.random() * 100000);

/** Give a file to the reader. */
export function download(href, name) {
  const link = el("a", { href, download: name });
  document.body.append(link);
  link.click();
  link.remove();
}
