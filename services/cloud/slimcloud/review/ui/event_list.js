// The events: what happened, newest first. A card shows the best picture, and how it went while somebody points at it.

import {API, get} from "./api.js";
import {$, clock, drawScene, duration, make, makeSvg, plural} from "./draw.js";
import {areEventsFiltered, clearEventFilters, eventQuery, matchesEvent} from "./event_filters.js";
import {eventPicture, play, stop} from "./moments.js";
import {isPicked, pick} from "./picks.js";

const PAGE = 24, MOST = 200;  // events that are kept while the list goes on by itself
export const events = {list: [], next: null, isCut: false};
const news = new Map();       // event id -> event that the list does not show yet
let open = () => {}, asked = 0, refilter = () => {};
let since = null;             // event id -> event that was told since the list was asked for: the answer may be older

const cards = () => [...$("events").children];
const idOf = item => item?.dataset.id;
const unseen = new WeakMap();  // card that nobody has scrolled to -> what gives it its picture
const inView = new IntersectionObserver(entries => {
  for (const {isIntersecting, target} of entries) if (isIntersecting) {
    inView.unobserve(target);
    unseen.get(target)();
  }
}, {rootMargin: "200px"});

export function startEvents(openEvent, onFilter) {
  open = openEvent;
  refilter = onFilter;
  $("events").onkeydown = moveFocus;
}

export async function loadEvents(cursor = null) {
  const query = eventQuery();
  query.set("limit", PAGE);
  if (cursor) query.set("cursor", cursor);
  const mine = ++asked, told = since = new Map();
  const page = await get(`${API}/events?${query}`);
  if (mine !== asked) return;  // the filters have changed since
  since = null;
  events.list = cursor ? [...events.list, ...page.events] : page.events;
  events.next = page.next_cursor;
  events.isCut = false;
  if (!cursor) news.clear();
  for (const event of told.values()) takeEvent(event);
  if (news.size) showEventNews();
  else paintEvents();
}

export async function loadOlderEvents() {
  if (events.isCut) await loadEvents();  // for where the list goes on
  await loadEvents(events.next);
}

// Something became of an event. One that is listed changes where it is; a new one may have to wait for the reader.
export function takeEvent(event) {
  since?.set(event.event_id, event);
  const at = events.list.findIndex(other => other.event_id === event.event_id);
  if (at >= 0) events.list[at] = event;
  else if (matchesEvent(event)) news.set(event.event_id, event);
}

export function showEventNews({always = false} = {}) {
  const isRead = $("events").getBoundingClientRect().top < 0 || matchMedia("(hover: hover)").matches && $("events").matches(":hover");
  if (!isRead || always) {
    events.list = [...news.values(), ...events.list].sort((a, b) => Date.parse(b.begin) - Date.parse(a.begin));
    if (!isRead && events.list.length > MOST) {
      events.list.length = MOST;
      events.isCut = true;
    }
    news.clear();
  }
  paintEvents();
}

export function setReviewed(ids, reviewed) {
  events.list = events.list.map(event => ids.includes(event.event_id) ? {...event, reviewed} : event);
}

// What no longer matches leaves the list, and older ones move up; the focus goes to what takes its place.
export async function dropUnmatched() {
  events.list = events.list.filter(matchesEvent);
  paintEvents();
  if (events.list.length < PAGE / 2 && events.next) await loadOlderEvents();
}

export function paintEvents() {
  const kept = new Map(cards().map(item => [item.dataset.key, item]));
  const focused = cards().indexOf(document.activeElement?.closest?.("#events > li")), focusedId = idOf(cards()[focused]);
  const items = events.list.map(event => kept.get(keyOf(event)) || card(event));
  // What stays is never taken out: the browser would lose the focus, and with it where the reader is.
  for (const item of cards()) if (!items.includes(item)) item.remove();
  items.forEach((item, i) => { if ($("events").children[i] !== item) $("events").insertBefore(item, $("events").children[i] || null); });
  if (focused >= 0 && !document.activeElement.closest("#events"))
    (items.find(item => idOf(item) === focusedId) || items[Math.min(focused, items.length - 1)])?.firstChild.focus({preventScroll: true});
  $("more-events").hidden = !events.next && !events.isCut;
  $("news").hidden = !news.size;
  $("news").textContent = `Show ${plural(news.size, "new event")}`;
  $("no-events").hidden = events.list.length > 0;
  if (!events.list.length) $("no-events").replaceChildren(...nothing());
}

const keyOf = event => [event.event_id, event.state, event.best_frame_id, event.labels, event.zones, event.severity, event.objects, event.reviewed,
  event.state === "ended" ? "" : event.end].join(" ");

function nothing() {
  const isFiltered = areEventsFiltered();
  const button = make("button", {type: "button", textContent: isFiltered ? "Clear the filters" : "Show reviewed ones, too"});
  button.onclick = () => isFiltered ? (clearEventFilters(), refilter()) : $("only-unreviewed").click();
  if (isFiltered) return [make("b", {textContent: "No event matches these filters."}), make("br"), button];
  return [make("b", {textContent: "Nothing is left to review."}), " What is seen appears here.", make("br"), button];
}

function card(event) {
  const svg = makeSvg("svg", {"aria-hidden": "true", viewBox: "0 0 4 3"}), ticks = make("span", {className: "moments"});
  const row = (className, ...parts) => make("span", {className: `row ${className}`}, ...parts.map(part => part instanceof Node ? part : make("span", {textContent: part})));
  const badge = (name, text) => make("span", {className: `badge ${name}`, textContent: text});
  const many = event.objects > 1 ? ` · ${event.objects}` : "";
  const lasted = event.end ? duration(Date.parse(event.end) - Date.parse(event.begin)) : "goes on";
  const button = make("button", {className: "card"}, make("span", {className: "scene"}, svg, ticks, event.severity === "alert" ? badge("alert", "alert") : null), make("span", {className: "about"},
    row("strong", event.labels.join(", ") + many, event.reviewed ? badge("reviewed", "✓") : ""),
    row("small soft number", `${event.camera} · ${clock(event.begin)}`, lasted),
    row("small soft", event.zones.join(", "), event.late ? "came later" : event.state === "resting" ? "stands still" : "")));
  button.onclick = click => click.shiftKey ? pick(event.event_id, {upTo: true}) : open(event);
  const picker = make("input", {type: "checkbox", ariaLabel: `Choose ${event.labels.join(", ")} of ${clock(event.begin)}`, checked: isPicked(event.event_id)});
  picker.onclick = click => pick(event.event_id, {upTo: click.shiftKey, on: picker.checked});
  const item = make("li", {className: event.severity}, button, make("label", {className: "pick"}, picker));
  item.dataset.id = event.event_id;
  item.dataset.key = keyOf(event);
  const best = () => eventPicture(event).then(scene => scene && drawScene(svg, scene, {picture: scene.picture}));
  unseen.set(item, best);
  inView.observe(item);
  button.onpointerenter = button.onfocus = () => play(event, svg, ticks);
  button.onpointerleave = button.onblur = () => stop(ticks) && best();
  return item;
}

function moveFocus(key) {
  const items = cards(), at = items.indexOf(key.target.closest("li"));
  const columns = items.filter(item => item.offsetTop === items[0].offsetTop).length;
  const by = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns}[key.key];
  if (key.key === " " && key.target.closest("button")) {
    key.preventDefault();
    pick(idOf(items[at]));
  }
  if (!by || !items[at + by]) return;
  key.preventDefault();
  items[at + by].firstChild.focus();
}
