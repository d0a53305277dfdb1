"use strict";
const root = document.documentElement, button = document.getElementById("theme");
function settle(theme) {
  root.dataset.theme = theme;
  button.textContent = theme === "dark" ? "Light" : "Dark";
}
button.addEventListener("click", () => settle(root.dataset.theme === "dark" ? "light" : "dark"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", event => settle(event.matches ? "dark" : "light"));
settle(root.dataset.theme);
