// The open picture, larger: by wheel, by two fingers, by keys. What is beneath the pointer stays there.

import {$} from "./draw.js";

const MOST = 8, WHEEL_PER_DOUBLING = 300;  // CSS pixels of a wheel
const fingers = new Map();  // pointer id -> where it is
let zoom = 1, redraw = () => {};

// `onChange` draws again what does not grow with the picture: lines and words.
export function startZoom(onChange) {
  const sight = $("sight");
  redraw = onChange;
  sight.addEventListener("wheel", event => {
    event.preventDefault();
    zoomTo(zoom * 2 ** (-event.deltaY / WHEEL_PER_DOUBLING), event.clientX, event.clientY);
  }, {passive: false});
  sight.ondblclick = event => zoomTo(zoom > 1 ? 1 : 2, event.clientX, event.clientY);
  sight.onpointerdown = event => {
    fingers.set(event.pointerId, event);
    sight.setPointerCapture(event.pointerId);
  };
  sight.onpointerup = sight.onpointercancel = event => fingers.delete(event.pointerId);
  sight.onpointermove = event => {
    const last = fingers.get(event.pointerId);
    if (!last) return;
    const other = [...fingers.values()].find(({pointerId}) => pointerId !== event.pointerId);
    fingers.set(event.pointerId, event);
    if (other) {
      const apart = finger => Math.hypot(finger.clientX - other.clientX, finger.clientY - other.clientY);
      zoomTo(zoom * apart(event) / Math.max(1, apart(last)), (event.clientX + other.clientX) / 2, (event.clientY + other.clientY) / 2);
    } else if (zoom > 1) {
      sight.scrollBy(last.clientX - event.clientX, last.clientY - event.clientY);
    }
  };
}

export function zoomBy(factor) {
  const box = $("sight").getBoundingClientRect();
  zoomTo(zoom * factor, box.x + box.width / 2, box.y + box.height / 2);
}

export const showWhole = () => zoomTo(1, 0, 0);

function zoomTo(wanted, x, y) {
  const sight = $("sight"), before = $("stack").getBoundingClientRect();
  zoom = Math.max(1, Math.min(MOST, wanted));
  $("stack").style.setProperty("--zoom", zoom);
  sight.classList.toggle("large", zoom > 1);
  const after = $("stack").getBoundingClientRect();
  sight.scrollBy(after.x - x + (x - before.x) / before.width * after.width, after.y - y + (y - before.y) / before.height * after.height);
  redraw();
}
