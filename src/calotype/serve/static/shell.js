// What every page has: the switch between light and dark.

import { $ } from "./dom.js";

const button = $("#theme");
const NEXT = { auto: "light", light: "dark", dark: "auto" };
const SIGN = { auto: "◐", light: "☀", dark: "☾" };

function show() {
  const now = document.documentElement.dataset.theme ?? "auto";
  button.replaceChildren(SIGN[now]);
  button.setAttribute("aria-label", `Appearance: ${now}. Change it`);
  button.title = `Appearance: ${now}`;
}

button.addEventListener("click", () => {
  const next = NEXT[document.documentElement.dataset.theme ?? "auto"];
  if (next === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
  try {
    localStorage.setItem("calotype-theme", next);
  } catch {
    // a browser that keeps nothing forgets it with the page
  }
  show();
});
show();
