// Zones and masks of a camera, drawn on its newest picture, and what of it all is reported or an alert.

import {API, get, put} from "./api.js";
import {$, make} from "./draw.js";
import {labels} from "./labels.js";
import {choose, chosenOf, offer, tellChosen} from "./menus.js";
import {pictureOf} from "./pictures.js";
import {choosePolygon, drawPolygon, endDrawing, isDrawing, repaintPolygons, showPolygons, startPolygons} from "./polygons.js";

const BLANK = {width: 640, height: 480};  // where a camera has no picture yet
const MENUS = {"report-labels": ["report", "labels"], "report-zones": ["report", "zones"], "alert-labels": ["alerts", "labels"], "alert-zones": ["alerts", "zones"]};
let camera = "", rules = null, shapes = [];

export function startRules() {
  startPolygons($("rules-shapes"), {onChoose: showChosen, onDraw: shape => { paintList(); showChosen(shape, {toName: true}); }});
  $("new-zone").onclick = () => begin({isMask: false, name: freeName(), labels: null, loiter_seconds: 0});
  $("new-mask").onclick = () => begin({isMask: true});
  $("rules-form").onsubmit = event => { event.preventDefault(); save(); };
  $("rules-close").onclick = () => $("rules").close();
  $("rules").onkeydown = event => {
    if (!isDrawing() || !["Enter", "Escape"].includes(event.key)) return;
    event.preventDefault();
    endDrawing();
  };
  $("rules").oncancel = event => { if (isDrawing()) event.preventDefault(); };
  for (const id of Object.keys(MENUS)) $(id).onchange = () => tellChosen($(id));
}

export async function openRules(cameraId) {
  camera = cameraId;
  rules = null;
  shapes = [];
  allow({toDraw: false, toSave: false});  // not before it is known what there is
  $("rules-title").textContent = `Zones of ${camera}`;
  $("rules-image").removeAttribute("src");
  complain("");
  paintList();
  show(BLANK);
  $("rules").showModal();
  try {
    const [found, newest] = await Promise.all([get(`${API}/cameras/${camera}/rules`), get(`${API}/frames?camera=${camera}&limit=1`)]);
    if (camera !== cameraId || !$("rules").open) return;
    take(found);
    const [frame] = newest.frames;
    show(frame ? {width: frame.image_width, height: frame.image_height} : BLANK);
    if (!frame) return;
    const picture = await pictureOf(frame);
    if (camera === cameraId) $("rules-image").src = picture.url;
  } catch (error) {
    complain(error.message);
  }
}

function take(found) {
  rules = found;
  shapes = [...found.zones.map(zone => ({...zone, isMask: false})), ...found.masks.map(mask => ({...mask, isMask: true}))];
  for (const [id, [part, name]] of Object.entries(MENUS)) {
    offer($(id), name === "labels" ? labels.all : found.zones.map(zone => zone.name));
    choose($(id), found[part][name] || []);
  }
  allow({toDraw: true, toSave: found.editable});
  if (!found.editable) complain("They are in the operator's file, and are changed there.");
  paintList();
}

function allow({toDraw, toSave}) {
  $("new-zone").disabled = $("new-mask").disabled = !toDraw;
  $("rules-save").disabled = !toSave;
}

function show({width, height}) {
  $("rules-stack").style.setProperty("--aspect", width / height);
  $("rules-stack").style.setProperty("--image-width", width);
  showPolygons(shapes, {width, height});
}

function begin(shape) {
  endDrawing();
  drawPolygon({...shape, points: []});
  $("rules-hint").textContent = "Click to set corners; the first one again, or Enter, ends it.";
}

function freeName() {
  const names = shapes.map(({name}) => name);
  for (let n = 1; ; n++) if (!names.includes(`zone ${n}`)) return `zone ${n}`;
}

function showChosen(shape, {toName = false} = {}) {
  choosePolygon(shape);
  const items = [...$("rules-list").children];
  items.forEach((item, i) => item.classList.toggle("chosen", shapes[i] === shape));
  if (toName) items[shapes.indexOf(shape)]?.querySelector("input")?.select();
}

function paintList() {
  $("rules-hint").textContent = shapes.length ? "Drag corners, or the small dots between them; arrow keys and Delete work on a corner." : "Draw where to look, or where never to.";
  $("rules-list").replaceChildren(...shapes.map(shape => {
    const remove = make("button", {type: "button", className: "icon", title: "Remove", ariaLabel: "Remove", textContent: "✕"});
    remove.onclick = () => {
      shapes.splice(shapes.indexOf(shape), 1);
      offerZones();
      showChosen(null);
      paintList();
    };
    const item = make("li", {}, ...shape.isMask ? [make("b", {textContent: "Mask", title: "Nothing is reported there"})]
      : zoneFields(shape), remove);
    item.onfocusin = item.onpointerdown = () => showChosen(shape);
    return item;
  }));
  offerZones();
}

function zoneFields(shape) {
  const name = make("input", {value: shape.name, maxLength: 64, required: true, ariaLabel: "Name"});
  name.oninput = () => {
    for (const id of ["report-zones", "alert-zones"]) {
      const chosen = chosenOf($(id)).map(other => other === shape.name ? name.value : other);
      offer($(id), shapes.map(other => other === shape ? name.value : other.name).filter(Boolean), {}, chosen);
    }
    shape.name = name.value;
    repaintPolygons();
  };
  const menu = make("details", {className: "menu", name: "menu"}, make("summary", {textContent: "Anything"}), make("div"));
  offer(menu, labels.all);
  choose(menu, shape.labels || []);
  menu.onchange = () => {
    tellChosen(menu);
    shape.labels = chosenOf(menu).length ? chosenOf(menu) : null;
  };
  const loiter = make("input", {type: "number", min: 0, max: 3600, step: "any", value: shape.loiter_seconds, ariaLabel: "Seconds in it until it counts"});
  loiter.oninput = () => { shape.loiter_seconds = Number(loiter.value); };
  return [name, menu, make("label", {title: "Seconds in it until it counts"}, "after ", loiter, " s")];
}

function offerZones() {
  const names = shapes.filter(({isMask}) => !isMask).map(({name}) => name);
  for (const id of ["report-zones", "alert-zones"]) {
    offer($(id), names, {}, chosenOf($(id)).filter(name => names.includes(name)));
    tellChosen($(id));
  }
}

async function save() {
  endDrawing();
  complain("");
  const wanted = {...rules, zones: shapes.filter(({isMask}) => !isMask).map(({name, points, labels: some, loiter_seconds}) => ({name, points, labels: some, loiter_seconds})),
    masks: shapes.filter(({isMask}) => isMask).map(({points}) => ({points}))};
  for (const [id, [part, name]] of Object.entries(MENUS)) {
    const chosen = chosenOf($(id)), isNone = rules[part][name]?.length === 0;  // chosen by the API: nothing at all
    wanted[part] = {...wanted[part], [name]: chosen.length ? chosen : isNone ? [] : null};
  }
  try {
    await put(`${API}/cameras/${camera}/rules`, wanted);
    $("rules").close();
  } catch (error) {
    complain(error.message);
  }
}

function complain(text) {
  $("rules-problem").textContent = text;
}
