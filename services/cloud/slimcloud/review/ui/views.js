// Which part of the page is shown. The address tells it (#/frames), so that it can be linked and gone back to.

import {$} from "./draw.js";

const FIRST = "events";
const links = [...$("views").children];
const nameOf = link => link.hash.slice(2);

export const view = () => document.body.dataset.view;
export const viewHash = () => `#/${view()}`;

export function startViews(onChange) {
  const follow = () => {
    const wanted = location.hash.slice(2), known = links.map(nameOf);
    if (view() && !known.includes(wanted)) return;  // the address of an open frame
    document.body.dataset.view = known.includes(wanted) ? wanted : FIRST;
    for (const link of links) link.ariaCurrent = nameOf(link) === view() ? "page" : null;
    for (const part of document.querySelectorAll("[data-in]")) part.hidden = part.dataset.in !== view();
    onChange();
  };
  addEventListener("hashchange", follow);
  follow();
}
