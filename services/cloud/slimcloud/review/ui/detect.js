// "Detect": a frame that was dropped or failed is detected after all, before everything live.

import {API, get, post} from "./api.js";
import {$} from "./draw.js";
import {replaceFrame} from "./frames.js";
import {complain, say, shownFrame} from "./shown.js";

const POLL_MS = 400;

export const canDetect = frame => ["dropped", "failed"].includes(frame.state);

// `view` shows a frame: it is called with the better one.
export async function detect(frame, view) {
  if ($("detect").disabled) return;
  const isShown = () => shownFrame() === frame && $("viewer").open;
  $("detect").disabled = true;
  complain("");
  say("waiting for the detector…");
  try {
    await request(frame);
    let seen = frame;
    do {
      await new Promise(done => setTimeout(done, POLL_MS));
      seen = await get(`${API}/frames/${frame.id}?detections=true`);
    } while (seen.state === "queued" && isShown());
    replaceFrame(seen);
    if (isShown()) await view(seen);
  } catch (error) {
    if (!isShown()) return;
    complain(error.message);
    say("");
    $("detect").disabled = false;
  }
}

async function request(frame) {
  try {
    await post(`${API}/frames/${frame.id}/detection-request`);
  } catch (error) {
    if (error.status !== 409) throw error;  // it waits already, or is detected by now: both are what was asked for
  }
}
