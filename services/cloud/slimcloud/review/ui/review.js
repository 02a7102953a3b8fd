// What people say of the open frame: a mark, comments, and who looked.

import {API, get, post} from "./api.js";
import {$, clock, make} from "./draw.js";
import {replaceFrame} from "./frames.js";
import {complain, shownFrame} from "./shown.js";

export function startReview() {
  $("mark-reviewed").onclick = () => mark("reviewed");
  $("mark-wrong").onclick = () => mark("wrong");
  $("say").onsubmit = event => {
    event.preventDefault();
    const comment = $("comment").value.trim();
    if (comment) record({comment}).then(stored => { if (stored) $("comment").value = ""; });
  };
}

// Mark the open frame; the same mark again takes it back.
export async function mark(wanted) {
  const frame = shownFrame();
  if (frame) await record({mark: $(`mark-${wanted}`).getAttribute("aria-pressed") === "true" ? "open" : wanted});
}

export function clearReview() {
  $("comment").value = "";
  $("story").replaceChildren();
}

export async function loadReview(frame) {
  press(frame.mark);
  try {
    const {reviews} = await get(`${API}/frames/${frame.id}/reviews`);
    if (shownFrame()?.id === frame.id) $("story").replaceChildren(...reviews.reverse().map(entry));
  } catch (error) {
    if (shownFrame()?.id === frame.id) complain(error.message);
  }
}

async function record(review) {
  const frame = shownFrame();
  try {
    await post(`${API}/frames/${frame.id}/reviews`, review);
    const fresh = await get(`${API}/frames/${frame.id}?detections=true`);
    replaceFrame(fresh);
    if (shownFrame()?.id === frame.id) await loadReview(fresh);
    return true;
  } catch (error) {
    if (shownFrame()?.id === frame.id) complain(error.message);
    return false;
  }
}

function press(current) {
  for (const name of ["reviewed", "wrong"]) $(`mark-${name}`).setAttribute("aria-pressed", current === name);
}

function entry({reviewer, time, kind, level, mark, comment}) {
  const did = {look: `looked, at level ${level}`, sharpen: "asked for more",
    note: {reviewed: "marked it reviewed", wrong: "marked it wrong", open: "took the mark back"}[mark] || "said"}[kind];
  const line = make("li", {}, make("span", {className: "soft", textContent: `${clock(time)} ${reviewer} ${did}`}));
  if (comment) line.append(make("span", {className: "said", textContent: comment}));
  return line;
}
