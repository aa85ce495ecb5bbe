// Runs before the first paint: the chosen appearance, so that a dark page never flashes light.
"use strict";
try {
  const chosen = localStorage.getItem("calotype-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // a browser that keeps nothing follows the system
}
