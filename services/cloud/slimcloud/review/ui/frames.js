// Filters, and the frames that they leave: what the machine saw, newest first. Frames of a camera in which
// nothing moved are folded into one card, which opens; those of which somebody said something are not.

import {API, get} from "./api.js";
import {$, bytes, clock, drawScene, labelText, make, makeSvg, plural} from "./draw.js";
import {keptPictureOf, smallPictureOf} from "./pictures.js";

const PAGE = 24;
const FIELDS = ["camera", "label", "score", "mark", "time"];
const ANY_LABEL = "*";  // something seen
export const list = {frames: [], next: null};
const news = new Map();      // id -> frame that the list does not show yet, or not as it is now

let open = () => {}, asked = 0;
let since = null;            // of these what came since the list was asked for: the answer may be older
const unseen = new WeakMap();  // card that nobody has scrolled to -> what gives it its preview
const inView = new IntersectionObserver(entries => {
  for (const {isIntersecting, target} of entries) if (isIntersecting) {
    inView.unobserve(target);
    unseen.get(target)();
  }
}, {rootMargin: "200px"});
const unfolded = new Set();  // ids of frames

export function startFrames(openFrame, onChange) {
  open = openFrame;
  $("filters").onsubmit = event => event.preventDefault();
  $("filters").oninput = event => {
    $("score-value").textContent = Number($("score").value) ? `≥ ${Math.round($("score").value * 100)}%` : "any";
    if (event.target.id !== "score") changed(onChange);
  };
  $("score").onchange = () => changed(onChange);
  $("filters").onreset = () => setTimeout(() => { $("score-value").textContent = "any"; changed(onChange); });
  $("frames").onkeydown = moveFocus;
}

function changed(onChange) {
  $("between").hidden = $("time").value !== "between";
  $("clear").hidden = !isFiltered();
  onChange();
}

export const isFiltered = () => FIELDS.some(id => !["", "0"].includes($(id).value));

export function chooseTime(from, to) {
  const local = t => new Date(t - 60000 * t.getTimezoneOffset()).toISOString().slice(0, 19);
  $("time").value = from ? "between" : "";
  $("from").value = from ? local(from) : "";
  $("to").value = to ? local(to) : "";
  $("filters").dispatchEvent(new Event("input", {bubbles: true}));
}

// The chosen span as ISO times; null where it is open.
export function chosenTime() {
  const time = $("time").value;
  if (time !== "between")
    return {from: time ? new Date(Date.now() - 1000 * time).toISOString() : null, to: null};
  const iso = id => $(id).value ? new Date($(id).value).toISOString() : null;
  return {from: iso("from"), to: iso("to")};
}

export async function loadFrames(cursor = null) {
  const query = new URLSearchParams({limit: PAGE, detections: true});
  for (const id of ["camera", "label", "mark"]) if ($(id).value && $(id).value !== ANY_LABEL) query.set(id, $(id).value);
  if (Number($("score").value) || $("label").value === ANY_LABEL) query.set("min_score", $("score").value);
  for (const [name, value] of Object.entries(chosenTime())) if (value) query.set(name, value);
  if (cursor) query.set("cursor", cursor);
  const mine = ++asked, told = since = new Map();
  const page = await get(`${API}/frames?${query}`);
  if (mine !== asked) return;  // the filters have changed since
  since = null;
  list.frames = cursor ? [...list.frames, ...page.frames] : page.frames;
  list.next = page.next_cursor;
  list.isCut = false;
  forgetNews();
  for (const frame of told.values()) takeNews(frame);
  if (news.size) showNews();
  else paintFrames();
}

// What an event says of a frame. The newest are enough: the list shows no more.
export function takeNews(frame) {
  since?.set(frame.id, frame);
  news.delete(frame.id);
  news.set(frame.id, frame);
  if (news.size > PAGE) news.delete(news.keys().next().value);
}

export function forgetNews() {
  news.clear();
  $("news").hidden = true;
}

// Put them where they belong, unless that moved what a person has scrolled to or points at.
export function showNews({always = false} = {}) {
  const frames = [...new Map([...list.frames, ...news.values()].map(frame => [frame.id, frame])).values()].filter(matches);
  const added = frames.length - list.frames.length;
  if (isRead() && !always) {
    $("news").hidden = added <= 0;
    $("news").textContent = `Show ${added === PAGE ? "the newest frames" : plural(added, "newer frame")}`;
    return;
  }
  list.frames = frames.sort((a, b) => Date.parse(b.capture_time) - Date.parse(a.capture_time)).slice(0, PAGE);
  list.isCut ||= frames.length > PAGE;
  forgetNews();
  paintFrames();
}

const isRead = () => $("frames").getBoundingClientRect().top < 0 || matchMedia("(hover: hover)").matches && $("frames").matches(":hover");

function matches(frame) {
  const {from, to} = chosenTime(), time = Date.parse(frame.capture_time);
  const label = $("label").value, least = Number($("score").value);
  const scores = Object.entries(frame.labels).filter(([name]) => !label || label === ANY_LABEL || name === label).map(([, score]) => score);
  return ["camera", "mark"].every(id => !$(id).value || frame[id] === $(id).value)
    && (!from || time >= Date.parse(from)) && (!to || time < Date.parse(to))
    && (!label && !least || scores.some(score => score >= least));
}

export function replaceFrame(frame) {
  list.frames = list.frames.map(other => other.id === frame.id ? {...frame, detections: frame.detections || other.detections} : other);
  paintFrames();
}

export function paintFrames() {
  const kept = new Map([...$("frames").children].map(item => [item.dataset.key, item]));
  const focused = document.activeElement?.closest?.("#frames li")?.dataset.id;
  const items = fold(list.frames).map(frames => kept.get(keyOf(frames)) || card(frames));
  // What stays is never taken out: the browser would lose the focus, and with it where the reader is.
  for (const item of [...$("frames").children]) if (!items.includes(item)) item.remove();
  items.forEach((item, i) => { if ($("frames").children[i] !== item) $("frames").insertBefore(item, $("frames").children[i] || null); });
  if (focused && !document.activeElement.closest("#frames")) [...$("frames").children].find(item => item.dataset.id === focused)?.firstChild.focus({preventScroll: true});
  $("more").hidden = !list.next && !list.isCut;
  $("no-frames").hidden = list.frames.length > 0;
  if (!list.frames.length) $("no-frames").replaceChildren(...nothing());
}

export function fillChoices(cameras, labels) {
  fill($("camera"), cameras);
  fill($("label"), labels);
}

function fill(select, values) {
  const known = new Set([...select.options].map(option => option.value));
  for (const value of values) if (!known.has(value)) select.append(make("option", {value, textContent: value}));
}

// Runs of frames, each shown as one card.
function fold(frames) {
  const runs = [], still = new Map();  // camera -> its run in which nothing moved
  for (const frame of frames) {
    const isNoted = frame.mark !== "open" || frame.comments_count > 0;
    const isStill = frame.kind === "unchanged" && !isNoted && !unfolded.has(frame.id);
    if (isStill && still.has(frame.camera)) {
      still.get(frame.camera).push(frame);
      continue;
    }
    runs.push([frame]);
    if (isStill) still.set(frame.camera, runs.at(-1));
    else still.delete(frame.camera);
  }
  return runs;
}

function unfold(frames) {
  for (const frame of frames) unfolded.add(frame.id);
  paintFrames();
}

const keyOf = ([frame, ...more]) => [more.length, frame.id, frame.state, frame.presence, frame.bytes_total, frame.mark, frame.comments_count, keptPictureOf(frame)].join(" ");

function nothing() {
  if (list.next) return [make("b", {textContent: "None among the newest."}), " Older frames may match."];
  if (!isFiltered()) return [make("b", {textContent: "No frames yet."}), " They appear here as soon as a camera sends them."];
  const button = make("button", {type: "button", textContent: "Clear the filters"});
  button.onclick = () => $("filters").reset();
  return [make("b", {textContent: "No frame matches these filters."}), make("br"), button];
}

function card(frames) {
  const frame = frames[0], isFolded = frames.length > 1;
  const svg = makeSvg("svg", {"aria-hidden": "true"});
  drawScene(svg, frame, {picture: keptPictureOf(frame)});
  const badge = {reviewed: "✓ reviewed", wrong: "✗ wrong"}[frame.mark];
  const row = (className, left, right) => make("span", {className: `row ${className}`},
    make("span", {textContent: left}), right == null ? null : right instanceof Node ? right : make("span", {textContent: right}));
  const comments = frame.comments_count ? ` · ${plural(frame.comments_count, "note")}` : "";
  const button = make("button", {className: "card"}, make("span", {className: "scene"}, svg), make("span", {className: "about"},
    row("strong", labelText(frame), badge ? make("span", {className: `badge ${frame.mark}`, textContent: badge}) : null),
    ...isFolded ? [
      row("small soft number", `${frame.camera} · ${clock(frames.at(-1).capture_time)}–${clock(frame.capture_time)}`, plural(frames.length, "frame")),
      row("small soft", "nothing moved", "show all"),
    ] : [
      row("small soft number", `${frame.camera} · ${clock(frame.capture_time)}${comments}`, bytes(frame.bytes_total)),
    ]));
  button.onclick = () => isFolded ? unfold(frames) : open(frame.id);
  const item = make("li", {}, button);
  item.dataset.id = frame.id;
  item.dataset.key = keyOf(frames);
  unseen.set(item, async () => drawScene(svg, frame, {picture: await smallPictureOf(frame)}));
  inView.observe(item);
  return item;
}

function moveFocus(event) {
  const items = [...$("frames").children], at = items.indexOf(event.target.closest("li"));
  const columns = items.filter(item => item.offsetTop === items[0].offsetTop).length;
  const by = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns}[event.key];
  if (!by || !items[at + by]) return;
  event.preventDefault();
  items[at + by].firstChild.focus();
}
