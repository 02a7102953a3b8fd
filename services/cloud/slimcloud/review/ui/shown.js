// Which frame is open, and what is said beneath it.

import {$} from "./draw.js";

let shown = null;

export const shownFrame = () => shown;

export function setShown(frame) {
  shown = frame;
}

export function say(text) {
  $("busy").textContent = text;
}

export function complain(text) {
  $("problem").textContent = text;
}
