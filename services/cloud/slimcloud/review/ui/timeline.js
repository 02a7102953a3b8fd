// The timeline: how many frames there are when, below it how much moved, what is missing, and a span to
// choose by dragging.

import {API, get} from "./api.js";
import {$, clock, make, makeSvg, plural, words} from "./draw.js";

const BUCKETS = 160, HEIGHT = 60, ACTIVITY = 20, MIN_DRAG = 3;
const narrow = matchMedia("(max-width: 620px)");
const mostGapsTold = () => narrow.matches ? 1 : 3;
const svg = document.querySelector("#timeline svg");
let shown = null;                    // the answer that is drawn
let chosen = {from: null, to: null};  // ISO times

export function startTimeline(onChoose) {
  let start = null;
  const bucketAt = event => {
    const box = svg.getBoundingClientRect();
    return Math.max(0, Math.min(BUCKETS, (event.clientX - box.left) / box.width * BUCKETS));
  };
  svg.onpointerdown = event => { start = shown && bucketAt(event); svg.setPointerCapture(event.pointerId); };
  svg.onpointermove = event => { if (start != null) drawChosen(...span(start, bucketAt(event))); };
  svg.onpointercancel = () => { start = null; draw(); };
  svg.onpointerup = event => {
    if (start == null) return;
    const end = bucketAt(event), dragged = Math.abs(end - start) >= MIN_DRAG;
    const [from, to] = span(start, end);
    start = null;
    if (dragged) onChoose(new Date(from), new Date(to));
    else if (chosen.from) onChoose(null, null);
  };
}

export async function loadTimeline(camera, from, to) {
  chosen = {from, to};
  const query = new URLSearchParams({buckets: BUCKETS});
  if (camera) query.set("camera", camera);
  shown = await get(`${API}/timeline?${query}`);
  draw();
}

const ends = () => [Date.parse(shown.from_time), Date.parse(shown.to_time)];

function span(a, b) {
  const [from, to] = ends(), at = bucket => from + (to - from) * bucket / BUCKETS;
  return [at(Math.min(a, b)), at(Math.max(a, b))];
}

function toBucket(time) {
  const [from, to] = ends();
  return Math.max(0, Math.min(BUCKETS, (time - from) / (to - from) * BUCKETS));
}

function drawChosen(from, to) {
  svg.querySelector(".chosen")?.remove();
  const x = toBucket(from);
  svg.append(makeSvg("rect", {class: "chosen", x, y: 0, width: Math.max(.4, toBucket(to) - x), height: HEIGHT}));
}

function draw() {
  if (!shown) return;
  const most = Math.max(1, ...shown.frames), [from, to] = ends();
  const moved = shown.activity.some(share => share != null);
  svg.setAttribute("viewBox", `0 0 ${BUCKETS} ${HEIGHT + (moved ? ACTIVITY : 0)}`);
  const hatch = makeSvg("pattern", {id: "hatch", width: .8, height: 6, patternUnits: "userSpaceOnUse"},
    makeSvg("rect", {width: .28, height: 6, class: "gap-edge", opacity: .55}));
  const bars = shown.frames.map((n, i) => n && makeSvg("rect",
    {class: "bar", x: i + .1, width: .8, y: HEIGHT - 4 - (HEIGHT - 12) * n / most, height: 4 + (HEIGHT - 12) * n / most}));
  const activity = shown.activity.map((share, i) => share && makeSvg("rect",
    {class: "activity", x: i + .1, width: .8, y: HEIGHT + 2, height: Math.max(1, (ACTIVITY - 2) * Math.sqrt(share))}));
  const gaps = shown.gaps.map(gap => {
    const x = toBucket(Date.parse(gap.from_time)), width = Math.max(.5, toBucket(Date.parse(gap.to_time)) - x);
    const title = makeSvg("title");
    title.textContent = gapText(gap);
    return makeSvg("g", {}, makeSvg("rect", {class: "gap", x, y: 0, width, height: HEIGHT}, title),
      makeSvg("rect", {class: "gap-edge", x, y: 0, width, height: 3}));
  });
  svg.replaceChildren(makeSvg("defs", {}, hatch), ...bars.filter(Boolean), ...activity.filter(Boolean), ...gaps);
  if (chosen.from || chosen.to) drawChosen(chosen.from ? Date.parse(chosen.from) : from, chosen.to ? Date.parse(chosen.to) : to);
  const sameDay = new Date(from).toDateString() === new Date(to).toDateString();
  const tick = t => sameDay ? clock(t) : new Date(t).toLocaleString([], {day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23"});
  const total = shown.frames.reduce((sum, n) => sum + n, 0);
  const ticks = !total && !shown.gaps.length ? 0 : narrow.matches ? 3 : 5;
  document.querySelector("#timeline .ticks").replaceChildren(...Array.from({length: ticks}, (_, i) =>
    make("span", {textContent: tick(from + (to - from) * i / (ticks - 1))})));
  $("timeline-caption").replaceChildren(
    make("span", {textContent: total ? `${plural(total, "frame")} kept. Drag to choose a time.` : "No frame is kept."}),
    moved ? make("span", {textContent: "Below: how much moved."}) : "",
    ...shown.gaps.slice(0, mostGapsTold()).map(gap => make("span", {className: "missing", textContent: gapText(gap)})),
    shown.gaps.length > mostGapsTold() ? make("span", {className: "missing", textContent: `and ${plural(shown.gaps.length - mostGapsTold(), "more gap")}`}) : "");
}

function gapText(gap) {
  const lost = gap.frames_count ? `, ${plural(gap.frames_count, "frame")}` : "";
  return `gap: ${gap.camera} ${clock(gap.from_time)}–${clock(gap.to_time)}, ${words(gap.reason)}${lost}`;
}
