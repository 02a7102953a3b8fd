// The wall: one tile per camera with what it sees now: boxes over the frame's own preview, for which no
// network runs, or over a sketch where there is none.

import {API, get} from "./api.js";
import {$, bytes, clock, drawScene, labelText, make, makeSvg, plural, quality, seconds} from "./draw.js";
import {smallPictureOf} from "./pictures.js";

const MIN_PAUSE_MS = 250;  // between two frames of one camera on the wall
const TRAIL = 24;          // earlier centres of boxes that stay visible
const tiles = new Map();   // camera id -> its tile

let open = () => {};

export function startWall(openFrame) {
  open = openFrame;
}

export async function loadCameras() {
  const {cameras} = await get(`${API}/cameras`);
  $("no-cameras").hidden = cameras.length > 0;
  for (const camera of cameras) {
    const tile = tiles.get(camera.id) || addTile(camera.id);
    describe(tile, camera);
    if (!tile.frame && camera.last_frame_id) showNewest(camera.id);
  }
  return cameras;
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
  tile.next = frame;
  if (tile.busy) return;
  tile.busy = true;
  while (tile.next) {
    const wanted = tile.next;
    tile.next = null;
    await paint(tile, wanted);
    await new Promise(done => setTimeout(done, MIN_PAUSE_MS));
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
  const tile = {id, trail: [], svg: makeSvg("svg", {viewBox: "0 0 640 480", "aria-hidden": "true"}),
    chip: make("span", {className: "chip", textContent: "sketch", title: "open it to see a picture"}), state: part("state"), seen: part("strong"), age: part("soft number"), cost: part(""), today: part(""),
    gaps: part("badge gaps"), clock: part("badge gaps")};
  tile.button = make("button", {className: "tile"},
    part("scene", tile.svg, tile.chip),
    part("about", part("row", make("span", {className: "strong", textContent: id}), tile.state),
      part("row", tile.seen, tile.age),
      part("row small soft number", tile.cost, tile.today), part("row small", tile.gaps, tile.clock)));
  tile.button.onclick = () => tile.frame && open(tile.frame);
  tiles.set(id, tile);
  const item = make("li", {}, tile.button);
  item.dataset.camera = id;
  const after = [...$("wall").children].find(other => other.dataset.camera > id);
  $("wall").insertBefore(item, after || null);
  return tile;
}

function describe(tile, camera) {
  tile.button.className = `tile ${camera.state}`;
  tile.state.className = `state small ${camera.state}`;
  tile.state.textContent = camera.state;
  tile.today.textContent = `${bytes(camera.bytes_today)} today`;
  tile.today.title = "containers received since midnight UTC";
  tile.age.textContent = camera.lag_seconds == null ? "" : `lag ${seconds(camera.lag_seconds)}`;
  tile.age.title = "capture to detected, of its newest detected frame";
  tile.cost.textContent = camera.last_frame_id ? `level ${camera.level} · quality ${quality(camera.quality)}` : "no frame yet";
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
