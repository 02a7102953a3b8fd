// "Sharper": the camera is asked for what a frame left out.

import {API, get, post} from "./api.js";
import {$} from "./draw.js";
import {replaceFrame} from "./frames.js";
import {complain, say, shownFrame} from "./shown.js";

const POLL_MS = 400;
const AWAY_MS = 3000;  // a camera that has not been told by then is away

// `view` shows a frame: it is called with the better one.
export async function sharpen(frame, view) {
  if ($("sharper").disabled) return;
  const isShown = () => shownFrame() === frame && $("viewer").open;
  const started = performance.now();
  $("sharper").disabled = true;
  complain("");
  say("asking the camera…");
  try {
    let request = await post(`${API}/frames/${frame.id}/refetch`);
    while (["pending", "sent"].includes(request.state) && isShown()) {
      if (request.state === "sent") say("the camera is sending the rest…");
      else if (performance.now() - started > AWAY_MS) say("the camera is away; it is asked when it comes back");
      await new Promise(done => setTimeout(done, POLL_MS));
      request = await get(request.url);
    }
    if (!isShown()) return;
    if (request.state === "refused") throw new Error(`The camera refused: ${request.detail}`);
    const better = await get(`${API}/frames/${frame.id}?detections=true`);
    if (!isShown()) return;
    replaceFrame(better);
    await view(better, {improves: true});
  } catch (error) {
    if (!isShown()) return;
    complain(error.message);
    say("");
    $("sharper").disabled = false;
  }
}
