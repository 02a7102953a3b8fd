// One open frame, for itself or as what an event is remembered by: its picture is decoded now, because a person asks.

import {API, get} from "./api.js";
import {canDetect, detect} from "./detect.js";
import {$, bytes, clock, color, drawScene, duration, labelText, make, makeSvg, moment, quality, seconds} from "./draw.js";
import {events, loadOlderEvents} from "./event_list.js";
import {list} from "./frames.js";
import {eventPicture, showMoments, tellMoment} from "./moments.js";
import {pictureOf} from "./pictures.js";
import {clearReview, loadReview} from "./review.js";
import {sharpen} from "./sharpen.js";
import {complain, say, setShown, setShownEvent, shownEvent, shownFrame} from "./shown.js";
import {viewHash} from "./views.js";
import {showWhole, startZoom} from "./zoom.js";

const DAY_MS = 86_400_000;

let before = null, on = {};

export function startViewer(handlers) {
  on = handlers;
  $("sharper").onclick = () => shownFrame() && sharpen(shownFrame(), view);
  $("detect").onclick = () => shownFrame() && detect(shownFrame(), view);
  $("close").onclick = () => $("viewer").close();
  $("newer").onclick = () => step(-1);
  $("older").onclick = () => step(1);
  $("viewer").onclose = leave;
  $("viewer").onclick = event => { if (event.target === $("viewer")) $("viewer").close(); };
  $("show-boxes").onchange = event => $("stack").classList.toggle("unboxed", !event.target.checked);
  $("compare").onpointerdown = () => holdBefore(true);
  $("compare").onpointerup = $("compare").onpointerleave = () => holdBefore(false);
  $("before").onanimationend = () => { $("before").hidden = true; };
  startZoom(drawBoxes);
}

export async function openFrame(frameOrId) {
  setShownEvent(null);
  showMoments(null);
  try {
    await openPicture(frameOrId);
  } catch (error) {
    present();
    complain(error.status === 410 ? "Retention has removed this frame." : error.message);
  }
}

async function openPicture(frameOrId) {
  const id = frameOrId.id || frameOrId;
  const frame = frameOrId.detections ? frameOrId : await get(`${API}/frames/${id}?detections=true`);
  await view(frame);
}

export async function openEvent(eventOrId) {
  try {
    const event = eventOrId.event_id ? eventOrId : await get(`${API}/events/${eventOrId}`);
    setShownEvent(event);
    showMoments(event, frame => openPicture(frame).catch(error => complain(error.message))).then(() => tellMoment(shownFrame()?.id));
    await openPicture(event.best_frame_id).catch(error => {
      if (![404, 410].includes(error.status) || shownEvent() !== event) throw error;
      return viewPreview(event);
    });
  } catch (error) {
    present();
    complain(error.message);
  }
}

// All that is left of an event whose frames are gone.
async function viewPreview(event) {
  clearPicture();
  setShown(null);
  present();
  describePlace();
  clearReview();
  for (const id of ["found", "facts", "stages"]) $(id).replaceChildren();
  $("sharper").disabled = $("detect").hidden = true;
  $("until").textContent = "";
  const scene = await eventPicture(event);
  if (shownEvent() !== event || shownFrame()) return;
  complain(scene ? "This small picture is all that is kept." : "No picture of it is kept.");
  if (!scene) return;
  setShape(scene);
  drawScene($("boxes"), scene, {text: true, fill: false});
  $("image").src = scene.picture;
}

// Show a frame; after a refetch the better picture takes the place of the one before its eyes.
export async function view(frame, {improves = false} = {}) {
  if (!improves) clearPicture();
  setShown(frame);
  present();
  complain("");
  say("decoding…");
  describe(frame, null);
  if (!improves) loadReview(frame);
  try {
    const picture = await pictureOf(frame);
    if (shownFrame() !== frame) return;
    await show(frame, picture, improves);
    describe(frame, picture);
    loadReview(frame);  // with this look
    on.onLook();
  } catch (error) {
    if (shownFrame() === frame) complain(error.status === 410 ? "Retention has removed this frame." : error.message);
  }
  if (shownFrame() === frame) say("");
}

function present() {
  if ($("viewer").open) return;
  $("viewer").showModal();
  $("viewer").focus();  // keys work at once, and no button looks chosen
}

// To what is newer (-1) or older (1) than what is open.
export async function step(by) {
  const event = shownEvent();
  let {among, at} = neighbours();
  if (event && at + by === among.length && events.next) {
    await loadOlderEvents().catch(error => complain(error.message));
    ({among, at} = neighbours());
  }
  const next = at < 0 || shownEvent()?.event_id !== event?.event_id ? null : among[at + by];
  if (next) return event ? openEvent(next) : view(next);
  if (event) say("no more events here");
}

function neighbours() {
  const event = shownEvent(), among = event ? events.list : list.frames;
  return {among, at: event ? among.findIndex(other => other.event_id === event.event_id) : among.findIndex(other => other.id === shownFrame()?.id)};
}

export function holdBefore(held) {
  if (!before) return;
  $("before").classList.toggle("held", held);
  $("before").hidden = !held;
}

async function show(frame, picture, improves) {
  const better = new Image();
  better.src = picture.url;
  await better.decode();
  if (shownFrame() !== frame) return;
  if (improves && $("image").src) {
    before = $("image").src;
    $("before").src = before;
    $("before").classList.remove("held");
    $("before").hidden = matchMedia("(prefers-reduced-motion: reduce)").matches;
    $("compare").hidden = false;
  }
  $("image").src = picture.url;
  $("image").alt = `${frame.camera} at ${clock(frame.capture_time)}: ${labelText(frame)}`;
  $("save").href = picture.url;
  $("save").download = `${frame.camera} ${frame.capture_time.slice(0, 19).replaceAll(":", "-")}.${picture.suffix}`;
  $("save").hidden = false;
}

function clearPicture() {
  before = null;
  showWhole();
  $("before").hidden = $("compare").hidden = $("save").hidden = true;
  $("image").removeAttribute("src");
  $("image").alt = "";
}

function leave() {
  const id = shownEvent()?.event_id || shownFrame()?.id;
  setShown(null);
  setShownEvent(null);
  showMoments(null);
  clearPicture();
  clearReview();
  say("");
  history.replaceState(null, "", viewHash());
  [...document.querySelectorAll("#events > li, #frames > li")].find(item => item.dataset.id === id)?.firstChild.focus({preventScroll: true});
  on.onClose();
}

function describe(frame, picture) {
  describePlace();
  tellMoment(frame.id);
  describeSharper(frame);
  $("detect").hidden = !canDetect(frame);
  $("detect").disabled = false;
  setShape(frame);
  drawBoxes();
  describeFound(frame);
  describeStages(frame.latency);
  const sent = bytes(frame.base_bytes) + (frame.enhanced ? ` + ${bytes(frame.enhancement_bytes)}` : "");
  const rows = [["Level · quality", `${frame.level} · ${quality(frame.quality)}`], ["Sent", sent],
    ["Bits per pixel", frame.bpp.toFixed(3)], ["Size", `${frame.image_width} × ${frame.image_height}`],
    ["Captured", moment(frame.capture_time)]];
  if (frame.kind !== "intra") rows.push(["Coded", `${frame.kind === "unchanged" ? "nothing moved" : changed(frame)} since frame ${frame.reference_sequence}`]);
  if (frame.presence != null) rows.push(["Triage", `${frame.triage === "none" ? "" : `${frame.triage} · `}${Math.round(frame.presence * 100)}%`]);
  if (picture) rows.push(["Picture decoded in", seconds(picture.decodeSeconds)], ["Shown after", seconds(picture.totalSeconds)]);
  if (frame.reason) rows.push(["Why", frame.reason]);
  $("facts").replaceChildren(...rows.map(([name, value]) =>
    make("div", {}, make("dt", {textContent: name}), make("dd", {textContent: value}))));
}

// What is open, and what is beside it.
function describePlace() {
  const event = shownEvent(), frame = shownFrame(), {among, at} = neighbours();
  $("newer").disabled = at <= 0;
  $("older").disabled = at < 0 || at >= among.length - 1 && !(event && events.next);
  $("viewer-title").textContent = event ? `${event.labels.join(", ")} · ${event.camera} · ${clock(frame?.capture_time || event.begin)}`
    : `${frame.camera} · ${clock(frame.capture_time)}`;
  $("all-pictures").hidden = !event;
  if (event) $("all-pictures").href = `${API}/events/${event.event_id}/export`;
  $("viewer-title").title = event ? `${moment(event.begin)}, ${event.end ? duration(Date.parse(event.end) - Date.parse(event.begin)) : "goes on"}` : "";
  history.replaceState(null, "", event ? `#event/${event.event_id}` : `#${frame.id}`);
}

function setShape({image_width: w, image_height: h}) {
  $("stack").style.setProperty("--image-width", w);
  $("stack").style.setProperty("--aspect", w / h);
}

// Until when a better picture can be had, and what the last such picture of this camera took.
function describeSharper(frame) {
  const until = frame.enhance_until, leftMs = Date.parse(until) - Date.now();
  const isGone = Boolean(until) && leftMs < 0, canBe = frame.can_enhance && !isGone;
  const last = list.frames.find(other => other.camera === frame.camera && other.enhanced);
  const facts = [
    isGone ? "the camera has it no more" : until && `until about ${leftMs > DAY_MS ? moment(until) : clock(until)}`,
    canBe && last && `the last one took ${bytes(last.enhancement_bytes)}`,
  ];
  $("sharper").disabled = !canBe;
  $("sharper").textContent = canBe || isGone ? "Sharper" : "Sharpest";
  $("until").textContent = facts.filter(Boolean).join(" · ");
}

function drawBoxes() {
  const frame = shownFrame(), path = shownEvent()?.path || [];
  if (!frame) return;
  drawScene($("boxes"), frame, {text: true, fill: false});
  if (path.length > 1) $("boxes").prepend(makeSvg("polyline",
    {class: "path", points: path.map(([x, y]) => `${x * frame.image_width},${y * frame.image_height}`).join(" ")}));
}

const changed = frame => frame.activity == null ? "what changed" : `${Math.round(100 * frame.activity)}% changed`;

function describeFound(frame) {
  const byLabel = new Map();
  for (const d of frame.detections || []) byLabel.set(d.label, [...(byLabel.get(d.label) || []), d]);
  const best = found => Math.max(...found.map(d => d.score));
  const chips = [...byLabel.values()].sort((a, b) => best(b) - best(a)).map(found => {
    const dot = make("i");
    dot.style.background = color(found[0].class_id);
    const times = found.length > 1 ? `${found.length} × ` : "";
    return make("li", {}, dot, `${times}${found[0].label} ${Math.round(best(found) * 100)}%`);
  });
  $("found").replaceChildren(...(chips.length ? chips : [make("li", {textContent: labelText(frame)})]));
}

// Where the time from capture to detection went.
function describeStages(latency) {
  const stages = [["transport", latency.transport_seconds], ["queue", latency.queue_seconds], ["detection", latency.compute_seconds]];
  const total = stages.reduce((sum, [, s]) => sum + Math.max(0, s || 0), 0);
  const svg = makeSvg("svg", {viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true"});
  let x = 0;
  stages.forEach(([, s], i) => {
    const width = total ? 100 * Math.max(0, s || 0) / total : 0;
    svg.append(makeSvg("rect", {class: `stage-${i}`, x, width, height: 10}));
    x += width;
  });
  $("stages").replaceChildren(make("div", {className: "small soft number", textContent: `Seen ${seconds(latency.total_seconds)} after capture`}), svg,
    make("ul", {className: "small soft number"}, ...stages.map(([name, s], i) =>
      make("li", {className: `stage-${i}`, textContent: `${name} ${seconds(s)}`}))));
}
