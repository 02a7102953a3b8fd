// A button that opens a list to choose several of: `<details class="menu"><summary>…</summary><div></div></details>`.

import {count, make} from "./draw.js";

export const chosenOf = menu => [...menu.querySelectorAll("input:checked")].map(input => input.value);

// Offer `values`, the seen ones first with how often; what is chosen stays chosen, unless it is said what is.
export function offer(menu, values, counts = {}, wanted = chosenOf(menu)) {
  const chosen = new Set(wanted);
  const often = value => counts[value] || 0;
  const all = [...new Set([...Object.keys(counts), ...values, ...chosen])].sort((a, b) => often(b) - often(a) || (a < b ? -1 : 1));
  menu.hidden = !all.length;
  const signature = all.map(value => `${value} ${often(value)} ${chosen.has(value)}`).join();
  if (menu.dataset.offered === signature) return;
  menu.dataset.offered = signature;
  const focused = menu.contains(document.activeElement) && document.activeElement.value;
  menu.lastElementChild.replaceChildren(...all.map(value => make("label", {className: often(value) ? "" : "soft"},
    make("input", {type: "checkbox", value, checked: chosen.has(value)}), make("span", {textContent: value}),
    often(value) ? make("span", {className: "number soft", textContent: count(often(value))}) : null)));
  if (focused) [...menu.querySelectorAll("input")].find(input => input.value === focused)?.focus();
}

export function choose(menu, values) {
  for (const input of menu.querySelectorAll("input")) input.checked = values.includes(input.value);
  tellChosen(menu);
}

// What is chosen, on the button.
export function tellChosen(menu) {
  const chosen = chosenOf(menu), summary = menu.firstElementChild;
  summary.dataset.name ??= summary.textContent;
  summary.textContent = chosen.length ? chosen.slice(0, 2).join(", ") + (chosen.length > 2 ? ` +${chosen.length - 2}` : "") : summary.dataset.name;
  menu.classList.toggle("some", chosen.length > 0);
}

// A click elsewhere and Escape close what is open; arrows go through the list.
addEventListener("pointerdown", ({target}) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(target)) menu.open = false;
});
addEventListener("keydown", event => {
  const menu = event.target.closest?.("details.menu[open]"), by = {ArrowDown: 1, ArrowUp: -1}[event.key];
  if (!menu || !by && event.key !== "Escape") return;
  event.preventDefault();
  event.stopImmediatePropagation();
  const inputs = [...menu.querySelectorAll("input")];
  if (by) inputs[Math.max(0, Math.min(inputs.length - 1, inputs.indexOf(event.target) + by))]?.focus();
  else {
    menu.open = false;
    menu.firstElementChild.focus();
  }
}, {capture: true});
