// What of all events is listed.

import {API, get} from "./api.js";
import {$, count} from "./draw.js";
import {choose, chosenOf, offer, tellChosen} from "./menus.js";

const MENUS = {label: "event-label", camera: "event-camera", zone: "event-zone"};
let known = {labels: [], cameras: []}, counts = {labels: {}, cameras: {}, zones: {}};

const isPressed = id => $(id).getAttribute("aria-pressed") === "true";
const press = (id, on) => $(id).setAttribute("aria-pressed", on);

export function startEventFilters(onChange) {
  const changed = () => {
    $("event-between").hidden = $("event-time").value !== "between";
    for (const id of Object.values(MENUS)) tellChosen($(id));
    $("event-clear").hidden = !areEventsFiltered();
    onChange();
  };
  $("event-filters").onsubmit = event => event.preventDefault();
  $("event-filters").onchange = changed;
  for (const id of ["only-alerts", "only-unreviewed"]) $(id).onclick = () => { press(id, !isPressed(id)); changed(); };
  $("event-clear").onclick = () => { clearEventFilters(); changed(); };
}

export function clearEventFilters() {
  for (const id of Object.values(MENUS)) choose($(id), []);
  $("event-time").value = "";
  press("only-alerts", false);
  press("only-unreviewed", true);
}

// Whether more than what is reviewed already is left out.
export const areEventsFiltered = () => isPressed("only-alerts") || !isPressed("only-unreviewed") || $("event-time").value !== ""
  || Object.values(MENUS).some(id => chosenOf($(id)).length);

function span() {
  const time = $("event-time").value;
  if (time !== "between") return {since: time ? new Date(Date.now() - 1000 * time).toISOString() : null, until: null};
  const iso = id => $(id).value ? new Date($(id).value).toISOString() : null;
  return {since: iso("event-from"), until: iso("event-to")};
}

function commonQuery() {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(span())) if (value) query.set(name, value);
  if (isPressed("only-alerts")) query.set("severity", "alert");
  return query;
}

export function eventQuery() {
  const query = commonQuery();
  if (isPressed("only-unreviewed")) query.set("reviewed", "false");
  for (const [name, id] of Object.entries(MENUS)) for (const value of chosenOf($(id))) query.append(name, value);
  return query;
}

export function matchesEvent(event) {
  const {since, until} = span(), begin = Date.parse(event.begin);
  const fits = (id, values) => !chosenOf($(id)).length || chosenOf($(id)).some(value => values.includes(value));
  return fits("event-label", event.labels) && fits("event-camera", [event.camera]) && fits("event-zone", event.zones)
    && (!isPressed("only-alerts") || event.severity === "alert") && !(isPressed("only-unreviewed") && event.reviewed)
    && (!since || begin >= Date.parse(since)) && (!until || begin < Date.parse(until));
}

export function offerChoices(found) {
  known = {...known, ...found};
  offerAll();
}

function offerAll() {
  offer($("event-label"), known.labels, counts.labels);
  offer($("event-camera"), known.cameras, counts.cameras);
  offer($("event-zone"), [], counts.zones);
}

// How many there are of each, whichever of the lists are chosen from.
export async function loadCounts() {
  counts = await get(`${API}/events/counts?${commonQuery()}`);
  offerAll();
  $("only-unreviewed").textContent = counts.unreviewed ? `Unreviewed ${count(counts.unreviewed)}` : "Unreviewed";
  $("only-alerts").textContent = counts.severities.alert ? `Alerts ${count(counts.severities.alert)}` : "Alerts";
}
