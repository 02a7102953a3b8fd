// The pictures that were decoded because somebody looked, the latest few: cards and the wall show them
// again without another decode. Of all others they show the preview, for which no network runs.

import {getPicture} from "./api.js";

const MAX_KEPT = 60;
const kept = new Map();  // image_url of a frame -> promise of its picture, oldest use first
const ready = new Map();  // frame id -> object URL

export async function pictureOf(frame) {
  const key = frame.image_url;
  const pending = kept.get(key) || getPicture(key);
  kept.delete(key);
  kept.set(key, pending);
  pending.catch(() => kept.delete(key));
  const picture = await pending;
  ready.set(frame.id, picture.url);
  forgetSome();
  return picture;
}

export const keptPictureOf = frame => ready.get(frame.id) || null;

// What there is of a frame without a decode, ready to be painted; null where the cloud cannot make it, or no more.
export async function smallPictureOf(frame) {
  const url = keptPictureOf(frame) || frame.preview_url;
  if (!url) return null;
  const image = new Image();
  image.src = url;
  return image.decode().then(() => url, () => null);
}

function forgetSome() {
  for (const [key, pending] of kept) {
    if (kept.size <= MAX_KEPT) return;
    kept.delete(key);
    pending.then(({url}) => {
      URL.revokeObjectURL(url);
      for (const [id, readyUrl] of ready) if (readyUrl === url) ready.delete(id);
    }).catch(() => {});
  }
}
