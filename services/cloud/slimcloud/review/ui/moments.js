// How an event went: its best picture, and a few frames spread over its time, played on a card or as a strip.

import {API, get} from "./api.js";
import {$, clock, drawScene, make} from "./draw.js";
import {labels, labelsKnown} from "./labels.js";
import {smallPictureOf} from "./pictures.js";

const STEP_MS = 400, START_MS = 250, MAX_KEPT = 100;
const kept = new Map();  // event id and end -> promise of its frames
const calm = matchMedia("(prefers-reduced-motion: reduce)");
let playing = null;

const previewOf = event => `${API}/events/${event.event_id}/preview#${event.best_frame_id}`;  // another name for another picture

// The best picture as a scene of its own size, with the box of what it is about; null where there is none.
export async function eventPicture(event) {
  const image = new Image();
  image.src = previewOf(event);
  try { await Promise.all([image.decode(), labelsKnown]); } catch { return null; }
  const {naturalWidth: w, naturalHeight: h} = image, [x0, y0, x1, y1] = event.best_box;
  return {image_width: w, image_height: h, picture: image.src, detections: [{x_min: x0 * w, y_min: y0 * h, x_max: x1 * w, y_max: y1 * h,
    class_id: Math.max(0, labels.all.indexOf(event.labels[0])), label: event.labels[0], score: event.score}]};
}

function momentsOf(event) {
  const key = `${event.event_id} ${event.end}`;
  if (!kept.has(key)) {
    const asked = get(`${API}/events/${event.event_id}/moments?detections=true`).then(({frames}) =>
      frames.sort((a, b) => Date.parse(a.capture_time) - Date.parse(b.capture_time)));
    asked.catch(() => kept.delete(key));
    kept.set(key, asked);
    if (kept.size > MAX_KEPT) kept.delete(kept.keys().next().value);
  }
  return kept.get(key);
}

// Play on a card until `stop`.
export async function play(event, svg, ticks) {
  if (calm.matches || playing?.ticks === ticks) return;
  const mine = playing = {ticks};
  const isMine = () => playing === mine;
  await new Promise(done => setTimeout(done, START_MS));
  if (!isMine()) return;
  try {
    const frames = await momentsOf(event);
    for (let i = 0; isMine() && frames.length > 1; i = (i + 1) % frames.length) {
      const picture = await smallPictureOf(frames[i]);
      if (!isMine()) return;
      drawScene(svg, frames[i], {picture});
      ticks.replaceChildren(...frames.map((_, at) => make("i", {className: at === i ? "now" : ""})));
      mine.hasPlayed = true;
      await new Promise(done => setTimeout(done, STEP_MS));
    }
  } catch { /* the best picture stays */ }
}

// Whether something was played there, so that the best picture has to come back.
export function stop(ticks) {
  if (playing?.ticks !== ticks) return false;
  const {hasPlayed} = playing;
  playing = null;
  ticks.replaceChildren();
  return hasPlayed;
}

// Beneath an open picture: choose one to see it.
export async function showMoments(event, onChoose) {
  const strip = $("moments");
  strip.replaceChildren();
  strip.dataset.event = event?.event_id || "";
  if (!event) return;
  const frames = await momentsOf(event).catch(() => []);
  if (strip.dataset.event !== event.event_id) return;
  strip.replaceChildren(...frames.map(frame => {
    const image = make("img", {alt: clock(frame.capture_time), loading: "lazy", src: frame.preview_url || ""});
    const button = make("button", {title: clock(frame.capture_time)}, image);
    button.onclick = () => onChoose(frame);
    const item = make("li", {}, button);
    item.dataset.id = frame.id;
    return item;
  }));
}

export function tellMoment(frameId) {
  for (const item of $("moments").children) item.firstChild.ariaCurrent = item.dataset.id === frameId ? "true" : null;
}

export function stepMoment(by) {
  const items = [...$("moments").children], at = items.findIndex(item => item.firstChild.ariaCurrent);
  items[at < 0 ? 0 : at + by]?.firstChild.click();
}
