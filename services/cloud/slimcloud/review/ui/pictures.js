// The pictures that were decoded because somebody looked, the latest few: cards and the wall show
// them again without another decode. Which one was a camera's last outlives a reload.

import {getPicture} from "./api.js";

const MAX_KEPT = 60;
const STORED = "slimwire-last-pictures";
const kept = new Map();  // image_url of a frame -> promise of its picture, oldest use first
const last = new Map();  // camera -> {frameId, imageUrl, captureTime, url}
const ready = new Map();  // frame id -> object URL

export async function pictureOf(frame, options) {
  const key = frame.image_url;
  const pending = kept.get(key) || getPicture(key, options);
  kept.delete(key);
  kept.set(key, pending);
  pending.catch(() => kept.delete(key));
  const picture = await pending;
  ready.set(frame.id, picture.url);
  last.set(frame.camera, {frameId: frame.id, imageUrl: key, captureTime: frame.capture_time, url: picture.url});
  store();
  forgetSome();
  return picture;
}

export const keptPictureOf = frame => ready.get(frame.id) || null;
export const lastPictureOf = camera => last.get(camera) || null;

// After a reload: the browser may still have the bytes, for a frame's picture never changes.
export async function recall() {
  let stored = {};
  try {
    stored = JSON.parse(sessionStorage.getItem(STORED)) || {};
  } catch { /* nothing usable is stored */ }
  await Promise.allSettled(Object.entries(stored).map(([camera, {frameId, imageUrl, captureTime}]) =>
    pictureOf({id: frameId, camera, image_url: imageUrl, capture_time: captureTime}, {cached: true})));
}

function store() {
  const plain = Object.fromEntries([...last].map(([camera, {frameId, imageUrl, captureTime}]) => [camera, {frameId, imageUrl, captureTime}]));
  try {
    sessionStorage.setItem(STORED, JSON.stringify(plain));
  } catch { /* private mode: the page works without */ }
}

function forgetSome() {
  const inUse = new Set([...last.values()].map(({url}) => url));
  for (const [key, pending] of kept) {
    if (kept.size <= MAX_KEPT) return;
    kept.delete(key);
    pending.then(({url}) => {
      if (inUse.has(url)) return;
      URL.revokeObjectURL(url);
      for (const [id, readyUrl] of ready) if (readyUrl === url) ready.delete(id);
    }).catch(() => {});
  }
}
