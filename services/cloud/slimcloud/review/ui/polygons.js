// Polygons drawn on a picture: corners are set by clicks, dragged, and moved by keys.

import {makeSvg} from "./draw.js";

const NEAR_PX = 12, STEP = .005, LARGE_STEP = .05;  // of the screen; of the picture, by arrow keys
const RECTANGLE = [[.3, .3], [.7, .3], [.7, .7], [.3, .7]];
const ARROWS = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};

let svg, shapes = [], chosen = null, drawing = null, dragged = null, on = {};
const share = value => Math.max(0, Math.min(1, value));
const size = () => svg.viewBox.baseVal;

// `shapes` are {points: [[x, y]...], isMask, name}, x and y from 0 to 1. `handlers`: onChoose(shape), onDraw(shape or null).
export function startPolygons(element, handlers) {
  svg = element;
  on = handlers;
  svg.onpointerdown = press;
  svg.onpointermove = event => { if (dragged) move(dragged.shape, dragged.corner, at(event)); };
  svg.onpointerup = svg.onpointercancel = () => { dragged = null; };
  svg.ondblclick = endDrawing;
}

export function showPolygons(list, {width, height}) {
  [shapes, chosen, drawing] = [list, null, null];
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  paint();
}

export function choosePolygon(shape) {
  chosen = shape;
  paint();
}

// Begin a new one: each click sets a corner; the first corner again, a double click or Enter ends it.
export function drawPolygon(shape) {
  drawing = chosen = shape;
  shapes.push(shape);
  paint();
  svg.focus();
}

// Fewer than three corners are a rectangle in the middle, to be dragged into place.
export function endDrawing() {
  if (!drawing) return;
  if (drawing.points.length < 3) drawing.points = RECTANGLE.map(point => [...point]);
  drawing = null;
  paint();
  on.onDraw(chosen);
}

export const isDrawing = () => Boolean(drawing);

export function repaintPolygons() {
  paint();
}

function at(event) {
  const box = svg.getBoundingClientRect();
  return [share((event.clientX - box.x) / box.width), share((event.clientY - box.y) / box.height)];
}

function press(event) {
  const point = at(event), {corner, between} = event.target.dataset;
  event.preventDefault();
  if (drawing) {
    const box = svg.getBoundingClientRect(), [first] = drawing.points;
    const closes = drawing.points.length > 2 && Math.hypot((first[0] - point[0]) * box.width, (first[1] - point[1]) * box.height) < NEAR_PX;
    if (closes) return endDrawing();
    drawing.points.push(point);
    return paint();
  }
  if (between != null) chosen.points.splice(Number(between) + 1, 0, point);
  if (corner != null || between != null) {
    dragged = {shape: chosen, corner: Number(corner ?? Number(between) + 1)};
    svg.setPointerCapture(event.pointerId);
    paint();
    return focusCorner(dragged.corner);
  }
  const shape = shapes[event.target.dataset.shape];
  if (shape !== chosen) on.onChoose(shape || null);
}

function move(shape, corner, point) {
  shape.points[corner] = point;
  paint();
  focusCorner(corner);
}

function focusCorner(corner) {
  svg.querySelector(`[data-corner="${corner}"]`)?.focus();
}

function pressKey(event, corner) {
  const arrow = ARROWS[event.key], step = event.shiftKey ? LARGE_STEP : STEP;
  if (arrow) move(chosen, corner, chosen.points[corner].map((value, i) => share(value + step * arrow[i])));
  else if (["Delete", "Backspace"].includes(event.key) && chosen.points.length > 3) {
    chosen.points.splice(corner, 1);
    paint();
    focusCorner(Math.max(0, corner - 1));
  } else return;
  event.preventDefault();
  event.stopPropagation();
}

function paint() {
  const {width, height} = size(), unit = width / Math.max(200, svg.clientWidth || 300);
  const place = ([x, y]) => [x * width, y * height];
  const parts = shapes.map((shape, i) => {
    const points = shape.points.map(place), kind = `${shape.isMask ? "mask" : "zone"}${shape === chosen ? " chosen" : ""}`;
    const outline = makeSvg(shape === drawing ? "polyline" : "polygon", {class: kind, points: points.map(String).join(" "), "data-shape": i});
    if (!points.length || shape.isMask) return outline;
    const [x, y] = points.reduce((top, point) => point[1] < top[1] ? point : top);
    const name = makeSvg("text", {transform: `translate(${x} ${y - 8 * unit}) scale(${unit})`});
    name.textContent = shape.name;
    return makeSvg("g", {}, outline, name);
  });
  const corners = chosen ? chosen.points.map(place) : [];
  const middles = drawing ? [] : corners.map(([x, y], i) => {
    const [toX, toY] = corners[(i + 1) % corners.length];
    return makeSvg("circle", {class: "middle", cx: (x + toX) / 2, cy: (y + toY) / 2, r: 5 * unit, "data-between": i});
  });
  const handles = corners.map(([cx, cy], i) => {
    const handle = makeSvg("circle", {class: "corner", cx, cy, r: 7 * unit, "data-corner": i, tabindex: drawing ? -1 : 0, role: "button", "aria-label": `Corner ${i + 1}`});
    handle.onkeydown = event => pressKey(event, i);
    return handle;
  });
  svg.replaceChildren(...parts, ...middles, ...handles);
}
