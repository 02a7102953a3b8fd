// The wall: one tile per camera with what it sees now: boxes over the frame's own preview, for which no
// network runs, or over a sketch where there is none. Where something moves comes first, who is silent last.

import {API, get} from "./api.js";
import {$, bytes, clock, drawScene, labelText, make, makeSvg, plural, seconds} from "./draw.js";
import {smallPictureOf} from "./pictures.js";
import {view} from "./views.js";

const PAUSE_MS = 500, STRIP_PAUSE_MS = 2000;  // between two frames of one camera, and where the wall is only beside something
const TRAIL = 24;          // earlier centres of boxes that stay visible
const RANKS = ["live", "starved", "silent", "offline"];
const ORDER_MS = 10_000, MOVED = .01;  // what moved within one such time is alike; share of a picture that is motion
const tiles = new Map();   // camera id -> its tile

let open = () => {}, openRules = () => {};
const inView = new IntersectionObserver(entries => {
  for (const {isIntersecting, target} of entries) {
    const tile = tiles.get(target.dataset.camera);
    tile.isInView = isIntersecting;
    if (isIntersecting && tile.next) showFrame(tile.next);
  }
});

export function startWall(openFrame, openZones) {
  open = openFrame;
  openRules = openZones;
}

export async function loadCameras() {
  const {cameras} = await get(`${API}/cameras`);
  $("no-cameras").hidden = cameras.length > 0;
  for (const camera of cameras) {
    const tile = tiles.get(camera.id) || addTile(camera.id);
    describe(tile, camera);
    if (!tile.frame && camera.last_frame_id) showNewest(camera.id);
  }
  putInOrder();
  return cameras;
}

// The cloud does not answer: what a tile shows is what was, and nobody knows how its camera fares.
export function loseSight() {
  for (const tile of tiles.values()) tellState(tile, "unknown", "not known");
}

async function showNewest(cameraId) {
  try {
    const {frames} = await get(`${API}/frames?camera=${cameraId}&limit=1&detections=true`);
    if (frames.length && !tiles.get(cameraId).frame) await showFrame(frames[0]);
  } catch { /* no answer: the next frame comes */ }
}

// A frame was detected: show it, or the newest one that came while we waited.
export async function showFrame(frame) {
  const tile = tiles.get(frame.camera);
  if (!tile) return;
  if (frame.detections?.length && (frame.activity ?? 1) > MOVED) tile.moved = Math.floor(Date.parse(frame.capture_time) / ORDER_MS);
  if (frame.kind === "unchanged" && tile.frame) return;  // it would look the same
  tile.next = frame;
  if (tile.busy || !tile.isInView) return;
  tile.busy = true;
  while (tile.next) {
    const wanted = tile.next;
    tile.next = null;
    await paint(tile, wanted);
    await new Promise(done => setTimeout(done, view() === "cameras" ? PAUSE_MS : STRIP_PAUSE_MS));
  }
  tile.busy = false;
}

export function repaint() {
  for (const tile of tiles.values()) if (tile.frame) paint(tile, tile.frame);
}

export function openCamera(index) {
  $("wall").children[index]?.firstChild.click();  // as they stand, not as they came
}

function addTile(id) {
  const part = (className, ...children) => make("span", {className}, ...children);
  const tile = {id, trail: [], moved: 0, svg: makeSvg("svg", {viewBox: "0 0 640 480", "aria-hidden": "true"}),
    chip: make("span", {className: "chip", textContent: "sketch", title: "open it to see a picture"}), state: part("state small"), seen: part("seen"), lag: part("lag soft number"),
    today: part("number"), gaps: part("badge gaps"), clock: part("badge gaps")};
  tile.button = make("button", {className: "tile"},
    part("scene", tile.svg, tile.chip),
    part("about", part("row", make("span", {className: "strong", textContent: id}), tile.state),
      part("row small", tile.seen, tile.lag),
      part("more small soft", tile.today, tile.gaps, tile.clock)));
  tile.button.onclick = () => tile.frame && open(tile.frame);
  const zones = make("button", {className: "zones", textContent: "Zones"});
  zones.onclick = () => openRules(id);
  tile.item = make("li", {}, tile.button, zones);
  tile.item.dataset.camera = id;
  tiles.set(id, tile);
  $("wall").append(tile.item);
  inView.observe(tile.item);
  return tile;
}

// Not while somebody is about to choose one.
function putInOrder() {
  if ($("wall").matches(":hover, :focus-within")) return;
  const rank = tile => RANKS.indexOf(tile.condition);
  const sorted = [...tiles.values()].sort((a, b) => rank(a) - rank(b) || b.moved - a.moved || (a.id < b.id ? -1 : 1));
  sorted.forEach(({item}, i) => { if ($("wall").children[i] !== item) $("wall").insertBefore(item, $("wall").children[i]); });
}

function tellState(tile, condition, text) {
  tile.condition = condition;
  tile.button.classList.remove(...RANKS, "unknown");
  tile.button.classList.add(condition);
  tile.state.className = `state small ${condition}`;
  tile.state.replaceChildren(make("span", {textContent: text}));
}

function describe(tile, camera) {
  const heard = camera.last_received_time;
  tellState(tile, camera.state, camera.state === "silent" && heard ? `silent since ${clock(heard)}`
    : camera.state === "starved" ? "not detected" : camera.state);
  const onLine = camera.socket_sent_bytes + camera.socket_received_bytes;
  tile.today.textContent = `${bytes(camera.bytes_today)} today${onLine ? ` · ${bytes(onLine)} on the line` : ""}`;
  tile.today.title = `pictures received since midnight UTC${onLine ? "; all that it sent and received since it started" : ""}`;
  tile.lag.textContent = camera.state === "live" && camera.lag_seconds != null ? seconds(camera.lag_seconds) : "";
  tile.lag.title = "from capture to detection, of its newest detected frame";
  if (!camera.last_frame_id) tile.seen.textContent = "no frame yet";
  const offset = camera.clock_offset_seconds;
  tile.clock.hidden = offset == null;
  if (offset != null) {
    tile.clock.textContent = `clock ${seconds(Math.abs(offset))} ${offset > 0 ? "ahead" : "behind"}`;
    tile.clock.title = "of the cloud's; set it, by NTP say";
  }
  const [gap] = camera.gaps;
  tile.gaps.hidden = !gap;
  if (gap) {
    tile.gaps.textContent = `${camera.gaps.length > 9 ? "10+" : camera.gaps.length} gap${camera.gaps.length > 1 ? "s" : ""}, `
      + `last ${clock(gap.from_time)}–${clock(gap.to_time)}`;
    tile.gaps.title = `${gap.reason.replaceAll("_", " ")}${gap.frames_count ? `, ${plural(gap.frames_count, "frame")}` : ""}`;
  }
}

// Boxes and picture are of the same frame, and change together.
async function paint(tile, frame) {
  const picture = await smallPictureOf(frame);
  if (tile.frame && tile.frame.id !== frame.id) {
    const centres = (tile.frame.detections || []).map(d => [(d.x_min + d.x_max) / 2, (d.y_min + d.y_max) / 2, d.class_id]);
    tile.trail = [...tile.trail, ...centres].slice(-TRAIL);
  }
  tile.frame = frame;
  drawScene(tile.svg, frame, {picture, trail: tile.trail, text: true});
  tile.chip.hidden = Boolean(picture);
  tile.seen.textContent = labelText(frame);
  tile.button.title = `Open the frame of ${clock(frame.capture_time)}`;
}
