// Pictures of the page: shown as what they are, chosen, dropped, pasted, or taken from those made before.

import { $, el, fresh, problem } from "./dom.js";

const KINDS = ["image/png", "image/jpeg", "image/webp"];
const LARGEST = 15e6; // bytes; the service has the last word

/** An <img> of base64. */
export const picture = (base64, alt, properties = {}) => pictureAt(inlined(base64), alt, properties);

/** An <img> of an address; small ones keep their pixels when they are enlarged. */
export function pictureAt(src, alt, properties = {}) {
  const image = el("img", { alt, src, draggable: "false", ...properties });
  const look = () => image.classList.toggle("pixels", image.naturalWidth > 0 && image.naturalWidth <= 200);
  image.addEventListener("load", look);
  return image;
}

const inlined = (base64) => `data:${kind(base64)};base64,${base64}`;

const kind = (base64) => (base64.startsWith("/9j") ? "image/jpeg" : base64.startsWith("UklG") ? "image/webp" : "image/png");

/** A decoded picture: its width and height are those of its pixels. */
export async function decoded(base64) {
  const image = new Image();
  image.src = inlined(base64);
  await image.decode();
  return image;
}

/** A file as base64; refuses what the service cannot read. */
export async function base64Of(file) {
  if (!KINDS.includes(file.type)) throw new Error(`${file.name} is no PNG, JPEG or WebP.`);
  if (file.size > LARGEST) throw new Error(`${file.name} has ${(file.size / 1e6).toFixed(1)} MB; ${LARGEST / 1e6} MB are the most.`);
  const url = await new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(new Error(`${file.name} cannot be read.`));
    reader.readAsDataURL(file);
  });
  return url.slice(url.indexOf(",") + 1);
}

/** Images made on this page, newest first: what explorers, fields for images and interpolations take theirs from. */
export const tray = {
  items: [],
  hearers: new Set(),
  add(items) {
    this.items = [...items, ...this.items].slice(0, 48);
    this.hearers.forEach((hear) => hear());
  },
  hear(hear) {
    this.hearers.add(hear);
    return () => this.hearers.delete(hear);
  },
};

/**
 * A field for one image: choose, drop, paste, or take one made here. `change(base64)` hears of every change.
 * `samples` makes one to try with: {label, draw() -> base64}, or null where no model draws.
 */
export function well(label, change, samples = null) {
  const id = fresh("file");
  const wrong = el("div");
  const shown = el("div", { class: "well-shown" });
  const made = el("div", { class: "strip", role: "group", "aria-label": "Images made here" });
  const input = el("input", { type: "file", id, accept: KINDS.join(","), class: "hidden-file" });
  const hint = el("span", { class: "well-hint" }, el("strong", {}, "Choose an image"), " or drop one here. Pasting works, too.");
  const zone = el("label", { class: "well", htmlFor: id }, shown, hint);
  const box = el("div", { class: "field well-field" }, el("span", { class: "label" }, label), input, zone, wrong, made);
  let now = null;

  function set(base64, from = "yours") {
    now = base64;
    problem(wrong);
    shown.replaceChildren();
    zone.classList.toggle("full", Boolean(base64));
    if (base64) shown.append(picture(base64, `The image to work on (${from})`));
    hint.replaceChildren(el("strong", {}, base64 ? "Choose another" : "Choose an image"), base64 ? "" : " or drop one here. Pasting works, too.");
    change(base64);
  }

  async function take(file) {
    try {
      set(await base64Of(file), file.name);
    } catch (error) {
      problem(wrong, error);
    }
  }

  input.addEventListener("change", () => { if (input.files[0]) take(input.files[0]); input.value = ""; });
  for (const [name, over] of [["dragenter", true], ["dragover", true], ["dragleave", false], ["drop", false]]) {
    zone.addEventListener(name, (event) => { event.preventDefault(); zone.classList.toggle("over", over); });
  }
  zone.addEventListener("drop", (event) => { const file = event.dataTransfer.files[0]; if (file) take(file); });
  const paste = (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find((one) => one.type.startsWith("image/"));
    if (file && box.isConnected) { event.preventDefault(); take(file); }
  };
  document.addEventListener("paste", paste);

  function fill() {
    made.replaceChildren();
    if (samples) {
      const draw = el("button", { type: "button", class: "small" }, samples.label);
      draw.addEventListener("click", async () => {
        draw.disabled = true;
        try {
          set(await samples.draw(), "a sample");
        } catch (error) {
          problem(wrong, error);
        }
        draw.disabled = false;
      });
      made.append(draw);
    }
    tray.items.slice(0, 8).forEach((item, index) => {
      const alt = `Take image ${index + 1} made here${item.label ? `, ${item.label}` : ""}`;
      made.append(el("button", { type: "button", class: "thumb", "aria-label": alt, onclick: () => set(item.image, "made here") }, picture(item.image, "")));
    });
  }
  fill();
  const stop = tray.hear(fill);
  return { box, set, value: () => now, refuse: (error) => problem(wrong, error), end: () => { stop(); document.removeEventListener("paste", paste); }, focus: () => $("input", box).focus() };
}
