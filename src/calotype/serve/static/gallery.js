// What was kept: with its recipe, to be made again, downloaded with its provenance, or deleted.

import { $, announce, download, el, empty, problem, toast, when } from "./dom.js";
import { del, get, post } from "./api.js";
import { pictureAt } from "./picture.js";

const place = $("#gallery");
const wrong = $("#wrong");
const count = $("#count");
const PAGE = 100; // pictures that the service lists at once
let kept = 0;
const leaving = new Set(); // ids that are about to be deleted, as long as that can be taken back

const address = (id) => `/v1/gallery/${encodeURIComponent(id)}`;

function title(item) {
  return item.label !== null && item.label !== undefined ? `${item.model_name ?? ""} · ${item.label}` : item.model_name ?? "image";
}

/** The recipe as facts: what made it, from which seed, with which options. */
function recipeOf(item) {
  const body = item.request?.body ?? {};
  const facts = { made: item.request?.ability, model: item.model_name, recipe: item.recipe, seed: item.seed ?? body.seed, label: item.label, size: item.width && `${item.width} × ${item.height}`, kept: when(item.made) };
  for (const [name, value] of Object.entries(body.options ?? {})) facts[name] = value;
  return Object.entries(facts).filter(([, value]) => value !== null && value !== undefined && value !== "");
}

const list = (facts) => el("dl", { class: "facts" }, facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, typeof value === "object" ? JSON.stringify(value) : String(value)))));

function open(item) {
  const box = el("dialog", { class: "viewer", "aria-label": title(item) },
    el("div", { class: "viewer-stage" }, pictureAt(`${address(item.id)}/image`, title(item))),
    el("div", { class: "viewer-side" }, el("h2", {}, title(item)), list(recipeOf(item)),
      item.provenance ? el("details", { class: "more" }, el("summary", {}, "What the file says of its making"), list(Object.entries(item.provenance).filter(([, value]) => value !== null))) : "",
      el("div", { class: "row viewer-foot" }, el("button", { type: "button", onclick: () => save(item) }, "Download"), el("button", { type: "button", class: "small close", onclick: () => box.close() }, "Close"))));
  box.addEventListener("click", (event) => { if (event.target === box) box.close(); });
  box.addEventListener("close", () => box.remove());
  document.body.append(box);
  box.showModal();
}

const save = (item) => download(`${address(item.id)}/image`, `${title(item).replaceAll(/[^\w.-]+/g, "-")}-${item.id}.png`);

function card(item) {
  const trouble = el("div");
  const shown = el("button", { type: "button", class: "cell", "aria-label": `Open ${title(item)}`, onclick: () => open(item) }, pictureAt(`${address(item.id)}/image`, title(item)));
  const again = el("button", { type: "button", class: "small" }, "Make again");
  again.addEventListener("click", async () => {
    again.disabled = true;
    problem(trouble);
    try {
      const answer = await post(`${address(item.id)}/again`, {});
      const same = answer.same ?? answer.identical;
      toast(same === false ? "Made again: it differs from the one kept" : "Made again: the same picture");
      announce("Made again");
    } catch (error) {
      problem(trouble, error);
    }
    again.disabled = false;
  });
  const gone = el("button", { type: "button", class: "small danger", "aria-label": `Delete ${title(item)}`, onclick: () => remove(item, box) }, "Delete");
  const facts = recipeOf(item);
  const line = facts.filter(([name]) => ["made", "seed"].includes(name)).map(([name, value]) => (name === "made" ? value : `${name} ${value}`)).join(" · ");
  const box = el("li", { dataset: { id: item.id } }, shown,
    el("div", { class: "text" }, el("strong", {}, title(item)), el("span", { class: "quiet" }, line), el("span", { class: "quiet" }, when(item.made)),
      el("div", { class: "row" }, again, el("button", { type: "button", class: "small", onclick: () => save(item) }, "Download"), gone), trouble));
  return box;
}

/** The card after one that went, or the one before it. */
function beside(box) {
  const cards = [...box.parentElement.children];
  const at = cards.indexOf(box);
  const there = (card) => !card.hidden;
  return cards.slice(at + 1).find(there) ?? cards.slice(0, at).findLast(there);
}

/** Deleting waits as long as it can be taken back. */
async function remove(item, box) {
  leaving.add(item.id);
  box.hidden = true;
  tell();
  const meant = await toast("Deleted", { label: "Undo", next: () => (beside(box)?.querySelector("button") ?? $("#main")).focus() });
  leaving.delete(item.id);
  if (!meant) {
    box.hidden = false;
    tell();
    box.querySelector(".danger").focus();
    return;
  }
  try {
    await del(address(item.id));
    box.remove();
  } catch (error) {
    box.hidden = false;
    problem(wrong, error);
  }
  if (!place.querySelector("li:not([hidden])")) show();
}

// what was deleted stays deleted where the page is left before the message goes
addEventListener("pagehide", () => leaving.forEach((id) => fetch(address(id), { method: "DELETE", keepalive: true })));

/** A button for older pictures, where there are some. */
function further(last) {
  if (kept <= PAGE) return "";
  const button = el("button", { type: "button" }, "Older pictures");
  button.addEventListener("click", async () => {
    const { items } = await get(`/v1/gallery?before=${encodeURIComponent(last.id)}`);
    $(".cards", place).append(...items.map(card));
    last = items.at(-1) ?? last;
    button.hidden = items.length < PAGE;
    tell();
  });
  return el("p", { class: "row acts" }, button);
}

function tell() {
  const many = place.querySelectorAll("li[data-id]:not([hidden])").length;
  count.textContent = many ? `${many} ${many === 1 ? "picture" : "pictures"}` : "";
}

async function show() {
  try {
    const { items, usage } = await get("/v1/gallery");
    kept = usage?.pictures ?? items.length;
    problem(wrong);
    const there = items.filter((item) => !leaving.has(item.id));
    place.replaceChildren(...there.length ? [el("ul", { class: "cards" }, there.map(card)), further(items.at(-1))] : [empty("Nothing kept yet", "In the Studio, open an image and keep it: it comes here with its recipe, so that it can be made again.", el("a", { class: "button primary", href: "/" }, "To the Studio"))]);
    tell();
  } catch (error) {
    problem(wrong, error);
  }
}

show();
