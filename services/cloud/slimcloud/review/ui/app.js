// Wires the page: events from the cloud, keys, theme, and what to do when the cloud does not answer.

import {API, get, session, signIn, signOut} from "./api.js";
import {controlCameras, controlNews, loadControl, startControl} from "./control.js";
import {$, bytes, count, make} from "./draw.js";
import {loadCounts, offerChoices, startEventFilters} from "./event_filters.js";
import {dropUnmatched, events, loadEvents, loadOlderEvents, setReviewed, showEventNews, startEvents, takeEvent} from "./event_list.js";
import {chooseTime, chosenTime, fillChoices, forgetNews, list, loadFrames, paintFrames, showNews, startFrames, takeNews} from "./frames.js";
import {setLabels} from "./labels.js";
import {stepMoment} from "./moments.js";
import {dropPicks, markEvents, pickAll, picks, startPicks, undoMark} from "./picks.js";
import {mark, startReview} from "./review.js";
import {openRules, startRules} from "./rules.js";
import {loadTimeline, startTimeline} from "./timeline.js";
import {holdBefore, openEvent, openFrame, startViewer, step} from "./viewer.js";
import {startViews, view} from "./views.js";
import {loadCameras, loseSight, openCamera, repaint, showFrame, startWall} from "./wall.js";
import {showWhole, zoomBy} from "./zoom.js";

const REFRESH_MS = 1000, CAMERAS_MS = 5000, TIMELINE_MS = 10_000, COUNTS_MS = 5000, RETRY_MS = 3000, ZOOM_STEP = 1.4;
const THEMES = {"": "◐", light: "☀", dark: "☾"};
const isLive = () => $("live").getAttribute("aria-pressed") === "true";

// ---- loading; the banner stands while a part fails, and what fails is tried again --------------------------------
const failing = new Map();  // part -> its problem
let retrying = 0;
async function attempt(...parts) {
  const results = await Promise.allSettled(parts.map(part => part()));
  results.forEach(({status, reason}, i) => status === "rejected" ? failing.set(parts[i], reason) : failing.delete(parts[i]));
  const [problem] = failing.values();
  $("banner").hidden = !problem || problem.status === 401;
  clearTimeout(retrying);
  if (!problem) return;
  $("banner").textContent = `${problem.message} Trying again…`;
  retrying = setTimeout(() => attempt(...failing.keys()), RETRY_MS);
}

async function cameras() {
  const list = await loadCameras().catch(problem => { loseSight(); throw problem; });
  const ids = list.map(({id}) => id);
  fillChoices(ids, []);
  offerChoices({cameras: ids});
  controlCameras(list);
}

async function overview() {
  const known = await get(`${API}/overview`);
  setLabels(known.labels);
  fillChoices([], [...known.labels].sort());
  offerChoices({labels: known.labels});
  const totals = [["Frames", count(known.frames_total)], ["Received", bytes(known.received_bytes_total)]];
  $("totals").replaceChildren(...totals.map(([name, value]) =>
    make("div", {}, make("dt", {textContent: name}), make("dd", {textContent: value}))));
}

function timeline() {
  const {from, to} = chosenTime();
  return loadTimeline($("camera").value, from, to);
}

const frames = () => loadFrames();
const happenings = () => loadEvents();
const counts = () => loadCounts();
// What the wall needs, and what the part of the page that is shown needs: nothing else is asked for.
const PARTS = {events: [overview, happenings, counts], frames: [overview, timeline, frames], cameras: [overview, loadControl]};
const shownParts = () => [cameras, ...PARTS[view()]];

// ---- news: each part is loaded again at most so often, however many events come -----------------------------------
const waiting = new Map();
function soon(part, pauseMs) {
  if (waiting.has(part) || document.hidden || !shownParts().includes(part)) return;
  waiting.set(part, setTimeout(() => { waiting.delete(part); attempt(part); }, pauseMs));
}
function newFrame({frame}) {
  if (!frame) return;  // retention was faster
  controlNews(frame);
  if (follows() && view() === "frames") {
    takeNews(frame);
    showSoon();
  }
  countAnew();
}
function newEvent({event}) {
  if (!event) return;
  if (isLive() && view() === "events") {
    takeEvent(event);
    showSoon();
  }
  soon(counts, COUNTS_MS);
}
function reload() {
  if (follows()) for (const part of [frames, happenings]) soon(part, 0);
  countAnew();
}
function countAnew() {
  soon(counts, COUNTS_MS);
  soon(timeline, TIMELINE_MS);
  soon(overview, TIMELINE_MS);
}
const showWaiting = how => view() === "events" ? showEventNews(how) : view() === "frames" && showNews(how);
let showing = 0;
function showSoon() {
  showing ||= setTimeout(() => { showing = 0; if (follows()) showWaiting(); }, REFRESH_MS);
}
// A camera that sends no more brings no news of that.
setInterval(() => soon(cameras, 0), CAMERAS_MS);
// While a frame is open the list stands still: its neighbours must not run away.
const follows = () => isLive() && !$("viewer").open;

let feed = null;
function listen() {
  feed?.close();
  feed = new EventSource(`${API}/events/stream?frames=true`);
  const on = (kind, react) => feed.addEventListener(kind, event => react(JSON.parse(event.data)));
  on("frame.detected", ({frame}) => { if (frame) showFrame(frame); });
  for (const kind of ["frame.detected", "frame.backfilled", "frame.dropped", "frame.failed", "enhancement.stored", "review.recorded"]) on(kind, newFrame);
  for (const kind of ["event.begun", "event.changed", "event.ended"]) on(kind, newEvent);
  for (const kind of ["camera.connected", "camera.disconnected"]) on(kind, () => soon(cameras, 0));
  on("events.missed", () => attempt(...shownParts()));
  on("gap.stored", () => { soon(cameras, 0); soon(timeline, 0); });
  feed.onopen = () => {
    $("live").classList.remove("lost");
    reload();  // what came between the first load and now
  };
  feed.onerror = () => {
    $("live").classList.add("lost");
    attempt(cameras);  // the wall says so where nobody answers
    if (feed.readyState === EventSource.CLOSED) setTimeout(listen, RETRY_MS);
  };
}

// ---- keys ------------------------------------------------------------------------------------------------------
const KEYS = {l: () => $("live").click(), t: () => $("theme").click(), "?": showHelp};
const PAGE_KEYS = {...KEYS, u: undoMark};
const VIEW_KEYS = {
  events: {"/": () => openMenu($("event-label")), 0: () => $("event-clear").click(), a: pickAll, Escape: dropPicks,
    r: () => markEvents(picks().length ? picks() : focusedEvents(), true)},
  frames: {"/": () => $("camera").focus(), 0: () => $("filters").reset()},
  cameras: {},
};
const focusedEvents = () => [document.activeElement?.closest?.("#events > li")?.dataset.id].filter(Boolean);
function openMenu(menu) {
  menu.open = true;
  menu.querySelector("input").focus();
}
const VIEWER_KEYS = {...KEYS, u: undoMark, ArrowUp: () => stepMoment(-1), ArrowDown: () => stepMoment(1),
  s: () => $("sharper").click(), b: () => $("show-boxes").click(), r: () => mark("reviewed"), w: () => mark("wrong"),
  d: () => $("detect").hidden || $("detect").click(), c: () => $("comment").focus(), v: () => $("save").hidden || $("save").click(),
  x: () => holdBefore(true), "+": () => zoomBy(ZOOM_STEP), "=": () => zoomBy(ZOOM_STEP), "-": () => zoomBy(1 / ZOOM_STEP), 0: showWhole,
  ArrowLeft: () => step(-1), ArrowRight: () => step(1)};
addEventListener("keydown", event => {
  const typing = event.target.closest?.("input:not([type=checkbox]), select, textarea");
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const inViewer = $("viewer").open, key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (document.querySelector("dialog[open]:not(#viewer)")) return;
  const react = inViewer ? VIEWER_KEYS[key] : VIEW_KEYS[view()][key] || PAGE_KEYS[key] || (/^[1-9]$/.test(key) && (() => openCamera(key - 1)));
  if (!react) return;
  event.preventDefault();
  react();
});
addEventListener("keyup", event => { if (event.key.toLowerCase() === "x") holdBefore(false); });

// ---- theme, sign-in, wiring -------------------------------------------------------------------------------------
function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme; else delete document.documentElement.dataset.theme;
  $("theme").firstElementChild.textContent = THEMES[theme];
  try { localStorage.setItem("slimwire-theme", theme); } catch { /* the page works without */ }
}
function storedTheme() {
  try { return localStorage.getItem("slimwire-theme") in THEMES ? localStorage.getItem("slimwire-theme") : ""; } catch { return ""; }
}
$("theme").onclick = () => {
  const names = Object.keys(THEMES);
  setTheme(names[(names.indexOf(document.documentElement.dataset.theme || "") + 1) % names.length]);
};
function showHelp() {
  $("help").showModal();
  get(`${API}/session`).then(({name, role}) => {
    $("who").textContent = `You are ${name}, ${role}.`;
    $("sign-out").hidden = name === "anyone";
  }, () => {});
}
session.onRefused = () => { if (!$("sign-in").open) $("sign-in").showModal(); };
$("sign-in").oncancel = event => event.preventDefault();
$("token-form").onsubmit = event => {
  event.preventDefault();
  signIn($("token").value).then(() => location.reload(), error => {
    $("token-problem").textContent = error.status === 401 ? "This token is not known here." : error.message;
  });
};
$("live").onclick = () => {
  $("live").setAttribute("aria-pressed", !isLive());
  forgetNews();
  if (isLive()) reload();
};
document.querySelector(".skip").onclick = event => {
  event.preventDefault();
  document.querySelector("main section:not([hidden]) .card")?.focus();
};
$("help-button").onclick = showHelp;
$("sign-out").onclick = () => signOut().then(() => location.reload());
$("more").onclick = () => attempt(async () => {
  $("live").setAttribute("aria-pressed", false);  // a new first page would throw the older ones away
  if (list.isCut) await frames();  // for where the list goes on
  await loadFrames(list.next);
});
// Older events come as they are scrolled to, and until the screen is full.
const older = new IntersectionObserver(([{isIntersecting}]) => { if (isIntersecting) $("more-events").click(); }, {rootMargin: "600px"});
older.observe($("more-events"));
$("more-events").onclick = async () => {
  await attempt(loadOlderEvents);
  if (failing.has(loadOlderEvents)) return;  // that is tried again by itself
  older.unobserve($("more-events"));
  older.observe($("more-events"));
};
$("news").onclick = () => {
  showWaiting({always: true});
  scrollTo({top: 0});
};
for (const [part, kind] of [[window, "scroll"], [$("frames"), "mouseleave"], [$("events"), "mouseleave"]]) part.addEventListener(kind, showSoon, {passive: true});
document.addEventListener("visibilitychange", () => document.hidden ? feed.close() : listen());

setTheme(storedTheme());
startWall(async frame => {
  if (isLive()) await attempt(frames);  // newer than the list, as a rule: it gets its neighbours
  openFrame(frame);
}, openRules);
startRules();
startControl();
startTimeline(chooseTime);
startFrames(openFrame, () => attempt(frames, timeline));
startEvents(openEvent, () => $("event-filters").dispatchEvent(new Event("change")));
startEventFilters(() => attempt(happenings, counts));
startPicks({
  ids: () => events.list.map(event => event.event_id),
  onMarked: (ids, reviewed) => {
    setReviewed(ids, reviewed);
    soon(counts, 0);
    if (!$("viewer").open) attempt(reviewed ? dropUnmatched : happenings);
  },
});
startReview(() => step(1));
startViewer({onLook: () => { repaint(); paintFrames(); }, onClose: () => view() === "events" ? attempt(dropUnmatched).then(showSoon) : reload()});
const wanted = decodeURIComponent(location.hash.slice(1));
const loaded = [];
startViews(() => loaded.push(attempt(...shownParts())));
listen();
await loaded[0];
if (wanted.startsWith("event/")) openEvent(wanted.slice("event/".length));
else if (wanted.includes(":")) openFrame(wanted);
