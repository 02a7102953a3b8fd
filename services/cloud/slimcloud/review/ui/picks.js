// Events that are chosen together, and marking them: reviewed at once, taken back while the notice stands.

import {API, put} from "./api.js";
import {$, plural} from "./draw.js";

const NOTICE_MS = 8000, AT_ONCE = 100;  // events in one request
const picked = new Set();
let on = {}, last = null, hiding = 0, undo = null;

// `handlers`: ids() as they are listed, onMarked(ids, reviewed).
export function startPicks(handlers) {
  on = handlers;
  $("mark-picked").onclick = () => markEvents([...picked], true);
  $("drop-picked").onclick = dropPicks;
  $("undo").onclick = () => undo?.();
}

export const isPicked = id => picked.has(id);
export const picks = () => [...picked];

// Choose one, or all between it and the one before.
export function pick(id, {upTo = false, on: isOn = !picked.has(id)} = {}) {
  const ids = on.ids(), [from, to] = [ids.indexOf(upTo && last || id), ids.indexOf(id)].sort((a, b) => a - b);
  for (const each of ids.slice(Math.max(0, from), to + 1)) picked[isOn ? "add" : "delete"](each);
  last = id;
  tell();
}

export function pickAll() {
  const ids = on.ids(), isAll = ids.every(isPicked);
  for (const id of ids) picked[isAll ? "delete" : "add"](id);
  tell();
}

export function dropPicks() {
  picked.clear();
  tell();
}

export async function markEvents(ids, reviewed, {isUndo = false} = {}) {
  if (!ids.length) return false;
  try {
    for (let i = 0; i < ids.length; i += AT_ONCE) await put(`${API}/events/review`, {event_ids: ids.slice(i, i + AT_ONCE), reviewed});
  } catch (error) {
    undo = null;
    notify(error.message);
    return false;
  }
  dropPicks();
  on.onMarked(ids, reviewed);
  undo = isUndo ? null : () => markEvents(ids, !reviewed, {isUndo: true});
  notify(`${plural(ids.length, "event")} ${reviewed ? "reviewed" : "open again"}.`);
  return true;
}

export const undoMark = () => undo?.();

function notify(text) {
  clearTimeout(hiding);
  $("notice-text").textContent = text;
  $("undo").hidden = !undo;
  $("notice").togglePopover(true);
  hiding = setTimeout(() => { $("notice").togglePopover(false); undo = null; }, NOTICE_MS);
}

function tell() {
  $("picks").hidden = !picked.size;
  $("picks-count").textContent = `${picked.size} chosen`;
  document.body.classList.toggle("picking", picked.size > 0);
  for (const item of $("events").children) {
    const isOn = picked.has(item.dataset.id);
    item.querySelector(".pick input").checked = isOn;
    item.classList.toggle("picked", isOn);
  }
}
