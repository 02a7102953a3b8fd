// "Link and choices": the last minute of one camera. What it believed that its link carries and what it sent, the
// level and quality that it chose, and how long each frame took against the deadline. Drawn from the frames themselves.

import {API, get} from "./api.js";
import {$, clock, make, makeSvg, plural, quality, seconds} from "./draw.js";

const WINDOW_MS = 60_000, STEP_MS = 1000, CALM_STEP_MS = 10_000, LIMIT = 100;
const WIDTH = 600, HEIGHT = 100;   // of each chart, in its own units; it is stretched to its place
const frames = new Map();          // id -> frame, of the camera that is shown
const cameras = new Map();         // id -> camera
const calm = matchMedia("(prefers-reduced-motion: reduce)");
let newest = null;                 // {capture, heard}: the newest capture time, and when we heard of it; milliseconds
let waiting = 0, asked = 0;

const shown = () => $("control-camera").value;
const isOpen = () => $("control").open && $("control").offsetParent && !document.hidden;
const capture = frame => Date.parse(frame.capture_time);
const mbit = bytesPerSecond => bytesPerSecond * 8 / 1e6;

export function startControl() {
  $("control-camera").onchange = () => { frames.clear(); newest = null; loadControl(); };
  $("control").ontoggle = loadControl;
  document.addEventListener("visibilitychange", loadControl);
  let drawn = 0;
  setInterval(() => {  // time goes on where no frame comes
    if (!isOpen() || !newest || performance.now() - drawn < (calm.matches ? CALM_STEP_MS : STEP_MS)) return;
    drawn = performance.now();
    draw();
  }, STEP_MS);
}

export function controlCameras(list) {
  for (const camera of list) {
    if (!cameras.has(camera.id)) $("control-camera").append(make("option", {value: camera.id, textContent: camera.id}));
    cameras.set(camera.id, camera);
  }
  $("control").hidden = !list.length;
  const first = list.find(camera => camera.state === "live");
  if (!newest && first && cameras.get(shown())?.state !== "live") $("control-camera").value = first.id;
  if (!newest) loadControl();
}

// Something became of a frame: drawn once a second at most.
export function controlNews(frame) {
  if (frame.camera !== shown() || !isOpen()) return;
  add([frame]);
  waiting ||= setTimeout(() => { waiting = 0; draw(); }, STEP_MS);
}

function add(some) {
  for (const frame of some) frames.set(frame.id, frame);
  const latest = Math.max(...[...frames.values()].map(capture));
  if (frames.size && latest !== newest?.capture) newest = {capture: latest, heard: performance.now()};
}

export async function loadControl() {
  if (!isOpen() || !shown()) return;
  const open = [...frames.values()].filter(frame => frame.state === "queued").map(capture);
  const query = new URLSearchParams({camera: shown(), limit: LIMIT});
  if (newest) query.set("from", new Date(Math.min(newest.capture, ...open)).toISOString());
  const mine = ++asked;
  let page;
  try { page = await get(`${API}/frames?${query}`); } catch { return; /* the page says it elsewhere; news come again */ }
  if (mine !== asked) return;  // another camera, or a newer answer
  add(page.frames);
  draw();
}

// ---- drawing ---------------------------------------------------------------------------------------------------
function draw() {
  const now = newest ? newest.capture + performance.now() - newest.heard : 0;
  for (const [id, frame] of frames) if (capture(frame) < now - WINDOW_MS - 5000) frames.delete(id);
  const seen = [...frames.values()].filter(frame => capture(frame) >= now - WINDOW_MS).sort((a, b) => capture(a) - capture(b));
  $("control-empty").hidden = seen.length > 0;
  $("control-charts").hidden = !seen.length;
  if (!seen.length) return;
  const x = time => WIDTH * (1 - (now - time) / WINDOW_MS);
  drawRates(seen, x, now);
  drawChoices(seen, x);
  drawLatency(seen, x, cameras.get(shown())?.deadline_seconds);
  $("control-span").textContent = `${clock(now - WINDOW_MS)} – ${clock(now)}, ${plural(seen.length, "frame")}`;
}

function drawRates(seen, x, now) {
  const sent = new Map();  // second of capture -> bytes
  for (const frame of seen) {
    const second = Math.floor(capture(frame) / 1000);
    sent.set(second, (sent.get(second) || 0) + frame.base_bytes);
  }
  const beliefs = seen.filter(frame => frame.link_bytes_per_second);
  const top = roundUp(mbit(Math.max(1, ...sent.values(), ...beliefs.map(frame => frame.link_bytes_per_second))));
  const y = value => HEIGHT * (1 - Math.min(1, value / top));
  const bars = [...sent].map(([second, n]) => makeSvg("rect", {class: "sent", x: x(1000 * second), width: WIDTH / 60 - 1,
    y: y(mbit(n)), height: HEIGHT - y(mbit(n))}));
  show("control-rate", bars, [steps("believed", beliefs.map(frame => [x(capture(frame)), y(mbit(frame.link_bytes_per_second))]), x(now))], top, "Mbit/s");
  const last = beliefs.at(-1);
  tell("control-rate", ["sent", "sent"], ["believed", last ? `planned with ${mbit(last.link_bytes_per_second).toFixed(2)} Mbit/s` : "the camera does not say what it plans with"]);
}

function drawChoices(seen, x) {
  const top = Math.max(3, ...seen.map(frame => Math.max(frame.level, frame.quality)));
  const y = value => HEIGHT * (1 - (value + .5) / (top + 1)), end = x(capture(seen.at(-1))) + 3;
  const line = (name, value) => steps(name, seen.map(frame => [x(capture(frame)), y(value(frame))]), end);
  show("control-choice", [], [line("quality", frame => frame.quality), line("level", frame => frame.level)], Math.ceil(top), "");
  const last = seen.at(-1);
  tell("control-choice", ["level", `level ${last.level}`], ["quality", `quality ${quality(last.quality)}`]);
}

function drawLatency(seen, x, deadline) {
  const known = seen.filter(frame => frame.latency.total_seconds != null).map(frame => frame.latency.total_seconds);
  const top = deadline ? 1.5 * deadline : roundUp(Math.max(.1, ...known));
  const y = value => HEIGHT * (1 - Math.max(0, Math.min(1, value / top)));
  const took = frame => frame.latency.total_seconds ?? Infinity;  // dropped, or failed: no result
  const isLate = frame => deadline && took(frame) > deadline;
  const settled = seen.filter(frame => frame.state !== "queued");
  const bars = settled.map(frame => makeSvg("rect", {class: isLate(frame) ? "late" : "in-time", x: x(capture(frame)) - 1.5,
    width: 3, y: y(took(frame)), height: HEIGHT - y(took(frame))}));
  const limit = deadline ? [makeSvg("line", {class: "limit", x1: 0, x2: WIDTH, y1: y(deadline), y2: y(deadline)})] : [];
  show("control-latency", bars, limit, top, "s");
  tell("control-latency", ["in-time", `seen ${seconds(known.at(-1))} after capture`],
    deadline ? ["late", `${settled.filter(isLate).length} later than ${seconds(deadline)}`] : ["in-time", "no deadline"]);
}

function show(id, bars, lines, top, unit) {
  const svg = $(id).querySelector("svg");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.replaceChildren(...bars, ...lines);
  $(id).querySelector(".top").textContent = `${Number(top.toPrecision(2))} ${unit}`.trim();
}

function tell(id, ...parts) {
  $(id).querySelector("figcaption").replaceChildren(...parts.map(([name, text]) => make("span", {className: `key ${name}`, textContent: text})));
}

// A value holds until the next one.
function steps(name, points, end) {
  const path = points.map(([x, y], i) => i ? `H${x.toFixed(1)}V${y.toFixed(1)}` : `M${x.toFixed(1)} ${y.toFixed(1)}`).join("");
  return makeSvg("path", {class: name, d: points.length ? `${path}H${end.toFixed(1)}` : ""});
}

function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find(step => step * power >= value - 1e-9);
}
