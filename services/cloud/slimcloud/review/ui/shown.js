// Which frame is open, for which event, and what is said beneath it.

import {$} from "./draw.js";

let shown = null, event = null;

export const shownFrame = () => shown;
export const shownEvent = () => event;  // that the frame was opened for; null: for itself

export function setShown(frame) {
  shown = frame;
}

export function setShownEvent(opened) {
  event = opened;
}

export function say(text) {
  $("busy").textContent = text;
}

export function complain(text) {
  $("problem").textContent = text;
}
