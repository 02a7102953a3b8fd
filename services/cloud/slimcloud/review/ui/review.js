// What people say of the open frame: a mark, comments, and who looked.

import {API, get, post} from "./api.js";
import {$, clock, make} from "./draw.js";
import {replaceFrame} from "./frames.js";
import {markEvents} from "./picks.js";
import {complain, setShownEvent, shownEvent, shownFrame} from "./shown.js";

let goOn = () => {};

// `onReviewed` shows what comes after an event that was reviewed.
export function startReview(onReviewed) {
  goOn = onReviewed;
  $("mark-reviewed").onclick = () => mark("reviewed");
  $("mark-wrong").onclick = () => mark("wrong");
  $("say").onsubmit = event => {
    event.preventDefault();
    const comment = $("comment").value.trim();
    if (comment) record({comment}).then(stored => { if (stored) $("comment").value = ""; });
  };
}

// Mark the open event reviewed, or the open frame; the same mark again takes it back.
export async function mark(wanted) {
  const frame = shownFrame(), event = shownEvent();
  if (event && wanted === "reviewed") {
    const reviewed = !event.reviewed;
    if (!await markEvents([event.event_id], reviewed) || shownEvent() !== event) return;
    setShownEvent({...event, reviewed});
    press(frame?.mark);
    if (reviewed) goOn();
    return;
  }
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
  if (!frame) return false;  // it is gone, and what is shown is an event's picture
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
  const event = shownEvent();
  $("mark-reviewed").setAttribute("aria-pressed", event ? event.reviewed : current === "reviewed");
  $("mark-wrong").setAttribute("aria-pressed", current === "wrong");
}

function entry({reviewer, time, kind, level, mark, comment}) {
  const did = {look: `looked, at level ${level}`, sharpen: "asked for more",
    note: {reviewed: "marked it reviewed", wrong: "marked it wrong", open: "took the mark back"}[mark] || "said"}[kind];
  const line = make("li", {}, make("span", {className: "soft", textContent: `${clock(time)} ${reviewer} ${did}`}));
  if (comment) line.append(make("span", {className: "said", textContent: comment}));
  return line;
}
