// Elements, units as people read them, and boxes.

export const $ = id => document.getElementById(id);

export function make(tag, props = {}, ...children) {
  const element = Object.assign(document.createElement(tag), props);
  element.append(...children.filter(child => child != null));
  return element;
}

export function makeSvg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export function bytes(n) {
  if (n < 1000) return `${n} B`;
  if (n < 1e6) return `${(n / 1e3).toFixed(n < 1e5 ? 1 : 0)} kB`;
  return n < 1e9 ? `${(n / 1e6).toFixed(n < 1e8 ? 1 : 0)} MB` : `${(n / 1e9).toFixed(2)} GB`;
}
export const count = n => n.toLocaleString("en").replaceAll(",", "\u202f");
export const plural = (n, one) => `${count(n)} ${one}${n === 1 ? "" : "s"}`;
export function seconds(s) {
  if (s == null) return "–";
  if (Math.abs(s) < 1) return `${Math.round(s * 1000)} ms`;
  return Math.abs(s) < 100 ? `${s.toFixed(2)} s` : `${Math.round(s / 60)} min`;
}
export function duration(ms) {
  const s = Math.round(ms / 1000);
  if (s < 60) return `${s} s`;
  return s < 3600 ? `${Math.floor(s / 60)} min ${s % 60} s` : `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} min`;
}
export const clock = t => new Date(t).toLocaleTimeString([], {hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23"});
export const moment = t => new Date(t).toLocaleString([], {dateStyle: "medium", timeStyle: "medium", hourCycle: "h23"});
export const quality = q => Number(q.toFixed(2));
export const words = reason => reason.replaceAll("_", " ");
export const color = classId => `hsl(${(classId * 222.492) % 360} 89% 55%)`;  // as overlay=1 has them

// What a frame shows, in the words of a list.
export function labelText(frame) {
  const found = Object.entries(frame.labels).sort((a, b) => b[1] - a[1]).map(([label]) => label);
  if (found.length) return found.slice(0, 3).join(", ") + (found.length > 3 ? ` +${found.length - 3}` : "");
  const nothing = frame.triage === "quiet" ? "quiet" : "nothing seen";
  const waiting = frame.presence == null ? "waiting" : "asking the camera";
  return {queued: waiting, detected: nothing, dropped: "too late", failed: "failed"}[frame.state];
}

// The scene of a frame: a picture, if there is one, and boxes in the picture's own pixels.
export function drawScene(svg, frame, {picture = null, trail = [], text = false, fill = true} = {}) {
  svg.setAttribute("viewBox", `0 0 ${frame.image_width} ${frame.image_height}`);
  const unit = frame.image_width / Math.max(200, svg.clientWidth || 300);  // one screen pixel
  const parts = [];
  if (picture) parts.push(makeSvg("image", {href: picture, width: frame.image_width, height: frame.image_height, opacity: .82}));
  trail.forEach(([x, y, classId], i) => parts.push(makeSvg("circle",
    {cx: x, cy: y, r: 2.2 * unit, fill: color(classId), opacity: .15 + .6 * i / trail.length})));
  const found = [...(frame.detections || [])].sort((a, b) => b.score - a.score);
  for (const d of found) {
    parts.push(makeSvg("rect", {class: "box", x: d.x_min, y: d.y_min, width: d.x_max - d.x_min, height: d.y_max - d.y_min, rx: 2 * unit,
      fill: color(d.class_id), "fill-opacity": fill ? .13 : 0, stroke: color(d.class_id), "stroke-width": 1.8 * unit}));
  }
  svg.replaceChildren(...parts, ...(text ? labels(found, frame, unit) : []));
}

// A label above each box, the surest first; one that would cover another is left out.
function labels(found, frame, unit) {
  const placed = [], texts = [];
  for (const d of found) {
    const words = `${d.label} ${Math.round(d.score * 100)}%`, width = (7 * words.length + 8) * unit;
    const x = Math.max(0, Math.min(d.x_min, frame.image_width - width)), y = Math.max(d.y_min, 15 * unit);
    if (placed.some(other => x < other.x + other.width && other.x < x + width && Math.abs(y - other.y) < 15 * unit)) continue;
    placed.push({x, y, width});
    const text = makeSvg("text", {x: 4, y: -4});
    text.textContent = words;
    texts.push(makeSvg("g", {class: "label", transform: `translate(${x} ${y}) scale(${unit})`},
      makeSvg("rect", {y: -15, width: width / unit, height: 15, rx: 2, fill: color(d.class_id)}), text));
  }
  return texts;
}
