// One image, large, with where it comes from and what can be done with it.

import { announce, download, el, problem, toast } from "./dom.js";
import { post } from "./api.js";
import { picture } from "./picture.js";

/** Keep an image in the gallery; `from` is the request that made it. */
export async function keep(from) {
  await post("/v1/gallery", { from });
  announce("Kept in the gallery");
  toast("Kept in the gallery");
}

/** A button that keeps and a button that downloads, for one image. */
export function leave(item, place) {
  const keeping = item.from && el("button", { type: "button" }, "Keep in gallery");
  keeping?.addEventListener("click", async () => {
    keeping.disabled = true;
    try {
      await keep(item.from);
      keeping.textContent = "Kept";
    } catch (error) {
      keeping.disabled = false;
      problem(place, error);
    }
  });
  const name = `${item.name ?? "image"}.png`;
  return [keeping, el("button", { type: "button", onclick: () => download(`data:image/png;base64,${item.image}`, name) }, "Download")].filter(Boolean);
}

/** Open a viewer over `items`, at one of them; `ways(item)` gives more buttons: [{label, run}]. */
export function view(items, at, ways = () => []) {
  const stage = el("div", { class: "viewer-stage" });
  const side = el("div", { class: "viewer-side" });
  const box = el("dialog", { class: "viewer", "aria-label": "One image" }, stage, side);

  function show() {
    const item = items[at];
    const wrong = el("div");
    stage.replaceChildren(picture(item.image, item.alt ?? "The image"));
    const more = ways(item).map((way) => el("button", { type: "button", onclick: () => { box.close(); way.run(); } }, way.label));
    const facts = Object.entries(item.facts ?? {}).filter(([, value]) => value !== null && value !== undefined && value !== "");
    side.replaceChildren(
      el("h2", {}, item.title ?? "Image"),
      el("dl", { class: "facts" }, facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, String(value))))),
      el("div", { class: "stack" }, leave(item, wrong), more),
      wrong,
      el("div", { class: "row viewer-foot" },
        el("button", { type: "button", class: "small", "aria-label": "The image before", disabled: at === 0, onclick: () => go(-1) }, "←"),
        el("span", { class: "quiet", role: "status" }, `${at + 1} of ${items.length}`),
        el("button", { type: "button", class: "small", "aria-label": "The next image", disabled: at === items.length - 1, onclick: () => go(1) }, "→"),
        el("button", { type: "button", class: "small close", onclick: () => box.close() }, "Close")),
    );
  }
  function go(by) {
    const next = Math.max(0, Math.min(items.length - 1, at + by));
    if (next === at) return;
    at = next;
    show();
    box.focus();
  }
  box.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") go(-1);
    if (event.key === "ArrowRight") go(1);
  });
  box.addEventListener("click", (event) => { if (event.target === box) box.close(); });
  box.addEventListener("close", () => box.remove());
  show();
  document.body.append(box);
  box.showModal();
}
