// What the detector can see, by class id.

export const labels = {all: []};

let tell;
export const labelsKnown = new Promise(done => { tell = done; });

export function setLabels(all) {
  labels.all = all;
  tell();
}
