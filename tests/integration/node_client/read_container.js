// Reads containers of version 3, written from docs/develop/container.md alone.
//
//   node read_container.js MODEL_FOLDER VECTORS...
//
// VECTORS have one JSON object a line, as in tests/vectors/version_3. For each there is one line:
// what a reader holds then, or why the container was refused.

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { inflateRawSync } from 'node:zlib';

const MAX_SYMBOL = 32767;
const MAX_DEPTH = 1023;
const MAX_PIXELS = 2 ** 26;
const NUM_SCALES = 48;
const WORD = 2n ** 32n;
const PRECISION = 24n;
const DIGIT_FREQUENCY = 2 ** 20; // of each of the 16 digits
const MAX_DIGITS = 12;

class Refused extends Error {}

function refuseIf(condition, why) {
  if (condition) throw new Refused(why);
}

// ---- a model: context.npz, tables.npz, manifest.json

function readZip(bytes) {
  const files = new Map();
  const end = bytes.lastIndexOf(Buffer.from('PK\x05\x06', 'latin1'));
  let at = bytes.readUInt32LE(end + 16);
  for (let left = bytes.readUInt16LE(end + 10); left > 0; left--) {
    const [nameLength, extra, comment] = [28, 30, 32].map((i) => bytes.readUInt16LE(at + i));
    const name = bytes.toString('utf8', at + 46, at + 46 + nameLength);
    const local = bytes.readUInt32LE(at + 42);
    const start = local + 30 + bytes.readUInt16LE(local + 26) + bytes.readUInt16LE(local + 28);
    const packed = bytes.subarray(start, start + bytes.readUInt32LE(at + 20));
    files.set(name, bytes.readUInt16LE(at + 10) === 8 ? inflateRawSync(packed) : packed);
    at += 46 + nameLength + extra + comment;
  }
  return files;
}

const READERS = {
  '|u1': (bytes, i) => bytes[i],
  '<i2': (bytes, i) => bytes.readInt16LE(2 * i),
  '<i4': (bytes, i) => bytes.readInt32LE(4 * i),
  '<u4': (bytes, i) => bytes.readUInt32LE(4 * i),
  '<f4': (bytes, i) => bytes.readFloatLE(4 * i),
};

function readArray(bytes) {
  const start = 10 + bytes.readUInt16LE(8);
  const header = bytes.toString('latin1', 10, start);
  if (bytes[6] !== 1 || !header.includes("'fortran_order': False")) throw new Error(header);
  const read = READERS[/'descr': '(.*?)'/.exec(header)[1]];
  const shape = /\((.*?)\)/.exec(header)[1].split(',').filter((side) => side.trim()).map(Number);
  const size = shape.reduce((a, b) => a * b, 1);
  const values = Array.from({ length: size }, (_, i) => read(bytes.subarray(start), i));
  return { shape, values };
}

function readArrays(path) {
  const files = [...readZip(readFileSync(path))];
  return Object.fromEntries(files.map(([name, bytes]) => [name.slice(0, -4), readArray(bytes)]));
}

// Tables are {first, cumulative}: cumulative frequencies of 2**24; the last bin is the escape.
function binaryTables(frequencies) {
  return frequencies.map((one) => {
    const zero = Math.max(65536 - one - 1, 1);
    return { first: 0, cumulative: [0, zero, zero + one, 65536].map((c) => 256 * c) };
  });
}

function readModel(folder) {
  const manifest = JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8'));
  const context = readArrays(join(folder, 'context.npz'));
  const length = context.cdf.shape[1];
  const tables = context.offset.values.map((first, t) => ({
    first,
    cumulative: context.cdf.values
      .slice(t * length, t * length + context.cdf_length.values[t])
      .map((c) => 256 * c),
  }));
  const shares = tables.flatMap(({ cumulative }) =>
    cumulative.slice(1).map((c, bin) => (c - cumulative[bin]) / 2 ** 24),
  );
  return {
    fingerprint: Buffer.from(manifest.fingerprint, 'hex'),
    widths: manifest.levels.map((level) => level.latent_channels),
    qualities: manifest.qualities,
    multiple: manifest.pad_multiple,
    stride: manifest.latent_stride,
    gain: readArrays(join(folder, 'tables.npz')).gain,
    context,
    lut: context.lut.values,
    ends: context.ends.values,
    tables,
    changeTables: binaryTables(context.changed.values),
    modeTables: binaryTables(context.alone.values),
    leastBits: -Math.log2(shares.reduce((a, b) => Math.max(a, b))),
  };
}

function gainsAt(model, fixed) {
  const M = model.gain.shape[1];
  const row = (q) => model.gain.values.slice(q * M, (q + 1) * M);
  const part = fixed % 256;
  if (part === 0) return row(Math.floor(fixed / 256));
  const above = row(Math.floor(fixed / 256) + 1);
  return row(Math.floor(fixed / 256)).map((low, c) => {
    let high = above[c];
    for (let bit = 128; bit > 0; bit >>= 1) {
      const middle = Math.sqrt(low * high);
      if (part & bit) low = middle;
      else high = middle;
    }
    return Math.fround(low);
  });
}

function biasAt(model, name, fixed) {
  const { shape, values } = model.context[name];
  const size = shape[1] * shape[2];
  const [below, part] = [Math.floor(fixed / 256), fixed % 256];
  const at = (q, i) => values[q * size + i];
  return Array.from({ length: size }, (_, i) =>
    part === 0
      ? at(below, i)
      : Math.floor(((256 - part) * at(below, i) + part * at(below + 1, i) + 128) / 256),
  );
}

// ---- entropy-coded steps

class StepDecoder {
  constructor(data) {
    refuseIf(data.length > 0 && data[data.length - 1] === 0, 'data end in a zero byte');
    const padded = Buffer.concat([data, Buffer.alloc((4 - (data.length % 4)) % 4)]);
    this.words = [];
    for (let at = 0; at < padded.length; at += 4) this.words.push(padded.readUInt32LE(at));
    this.state = 0n;
    this.fill();
    this.fill();
  }

  fill() {
    if (this.state < WORD && this.words.length) {
      this.state = this.state * WORD + BigInt(this.words.pop());
    }
  }

  bin(find) {
    const low = Number(BigInt.asUintN(Number(PRECISION), this.state));
    const [bin, cumulative, frequency] = find(low);
    this.state = (this.state >> PRECISION) * BigInt(frequency) + BigInt(low - cumulative);
    this.fill();
    return bin;
  }

  digit() {
    return this.bin((low) => {
      const digit = Math.floor(low / DIGIT_FREQUENCY);
      return [digit, digit * DIGIT_FREQUENCY, DIGIT_FREQUENCY];
    });
  }

  // The symbols of a step, from the table of each.
  take(tables, index) {
    const symbols = new Array(index.length);
    const order = index.map((_, i) => i).sort((a, b) => index[a] - index[b] || a - b);
    let going = [];
    for (const i of order) {
      const { first, cumulative } = tables[index[i]];
      const escape = cumulative.length - 2;
      const bin = this.bin((low) => {
        let found = 0;
        while (cumulative[found + 1] <= low) found++;
        return [found, cumulative[found], cumulative[found + 1] - cumulative[found]];
      });
      if (bin === escape) going.push({ i, first, escape, value: 0, unit: 1 });
      else symbols[i] = first + bin;
    }
    for (let round = 0; going.length; round++) {
      refuseIf(round >= MAX_DIGITS, 'an escape of too many digits');
      const next = [];
      for (const one of going) {
        const digit = this.digit();
        refuseIf(round > 0 && digit === 0, 'an escape with a digit too many');
        one.value += (digit % 8) * one.unit;
        one.unit *= 8;
        if (digit >= 8) {
          next.push(one);
          continue;
        }
        const distance = Math.floor(one.value / 2);
        symbols[one.i] =
          one.value % 2 ? one.first - 1 - distance : one.first + one.escape + distance;
      }
      going = next;
    }
    return symbols;
  }

  finish() {
    refuseIf(this.state !== 0n || this.words.length > 0, 'data hold more than the symbols');
  }
}

// ---- the container

const CRC_TABLE = Array.from({ length: 256 }, (_, octet) => {
  let crc = octet;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc >>> 0;
});

function crc32c(bytes) {
  let crc = 0xffffffff;
  for (const octet of bytes) crc = CRC_TABLE[(crc ^ octet) & 0xff] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

function parse(model, bytes, of) {
  refuseIf(bytes.length < 18, 'shorter than any');
  refuseIf(bytes.readUInt32BE(0) !== 0x9b534c57 || bytes[4] !== 3, 'no container of version 3');
  const body = bytes.subarray(0, -4);
  refuseIf(crc32c(body) !== bytes.readUInt32LE(body.length), 'checksum');
  const kind = body[5];
  refuseIf((kind & ~5) !== 0x20, 'kind or prior');
  const container = {
    isEnhancement: Boolean(kind & 1),
    isInter: Boolean(kind & 4),
    level: body[6] & 15,
    firstGroup: body[6] >> 4,
    quality: body.readUInt16LE(7),
  };
  const { isEnhancement, isInter, level, firstGroup, quality } = container;
  refuseIf(isEnhancement !== firstGroup > 0 || firstGroup > level, 'groups');
  refuseIf(level >= model.widths.length || quality > 256 * (model.qualities - 1), 'level, quality');
  let at = 14;
  if (isEnhancement || isInter) {
    refuseIf(of === null, 'needs a frame that is not there');
    container.reference = body.toString('hex', 9, 14);
    container.imageHw = of.imageHw;
  } else {
    refuseIf(body.length < 21, 'header');
    refuseIf(!body.subarray(9, 17).equals(model.fingerprint), 'another model');
    container.imageHw = [body.readUInt16LE(17), body.readUInt16LE(19)];
    const [height, width] = container.imageHw;
    refuseIf(!height || !width || height * width > MAX_PIXELS, 'size');
    at = 21;
  }
  const count = level - firstGroup + 1 + (isInter && !isEnhancement ? 1 : 0);
  const sections = [];
  while (sections.length < count - 1) {
    let [length, shift] = [0, 0];
    for (;;) {
      refuseIf(shift > 21 || at >= body.length, 'length');
      const octet = body[at++];
      refuseIf(shift > 0 && octet === 0, 'length with a byte too many');
      length |= (octet & 127) << shift;
      if (octet < 128) break;
      shift += 7;
    }
    refuseIf(at + length > body.length, 'section beyond the end');
    sections.push(body.subarray(at, at + length));
    at += length;
  }
  sections.push(body.subarray(at));
  if (isInter && !isEnhancement) container.changes = sections.shift();
  container.sections = sections;
  return container;
}

// ---- a frame on its grid; places are numbered row by row

class Grid {
  constructor(model, imageHw) {
    [this.h, this.w] = imageHw.map(
      (side) => (Math.ceil(side / model.multiple) * model.multiple) / model.stride,
    );
    this.size = this.h * this.w;
    this.places = Array.from({ length: this.size }, (_, place) => place);
  }

  row(place) {
    return Math.floor(place / this.w);
  }

  column(place) {
    return place % this.w;
  }

  beside(place, down, right) {
    const [i, j] = [this.row(place) + down, this.column(place) + right];
    return i < 0 || j < 0 || i >= this.h || j >= this.w ? -1 : i * this.w + j;
  }

  // 3 x 3, row by row; -1 outside
  around(place) {
    const steps = [-1, 0, 1];
    return steps.flatMap((down) => steps.map((right) => this.beside(place, down, right)));
  }

  // how many of the four neighbours are marked
  marked(marks, place) {
    const four = [[-1, 0], [1, 0], [0, -1], [0, 1]];
    return four.filter(([down, right]) => {
      const other = this.beside(place, down, right);
      return other >= 0 && marks[other];
    }).length;
  }

  isEven(place) {
    return (this.row(place) + this.column(place)) % 2 === 0;
  }

  passes(count) {
    const rest = this.places.filter((place) => !this.isEven(place));
    const even = this.places.filter((place) => this.isEven(place));
    if (count === 2) return [even, rest];
    const inRow = (parity) => even.filter((place) => this.row(place) % 2 === parity);
    return [inRow(0), inRow(1), rest];
  }
}

function readChanges(model, grid, data, before, finer) {
  const changed = new Array(grid.size).fill(false);
  const alone = new Array(grid.size).fill(false);
  if (!data.length) return { changed, alone };
  const coder = new StepDecoder(data);
  const take = (places, tables, index) =>
    coder.take(tables, index).map((flag) => {
      refuseIf(flag !== 0 && flag !== 1, 'an escaped flag');
      return flag === 1;
    });
  grid.passes(2).forEach((places, pass) => {
    const index = places.map((place) => {
      const around = grid.around(place).filter((other) => other >= 0 && before[other]).length;
      const beside = pass === 0 ? 5 : grid.marked(changed, place);
      return ((finer[place] ? 10 : 0) + around) * 6 + beside;
    });
    const flags = take(places, model.changeTables, index);
    places.forEach((place, i) => (changed[place] = flags[i]));
  });
  const places = grid.places.filter((place) => changed[place]);
  const index = places.map((place) => grid.marked(changed, place));
  const modes = take(places, model.modeTables, index);
  places.forEach((place, i) => (alone[place] = modes[i]));
  coder.finish();
  return { changed, alone };
}

function roundHalfEven(x) {
  const below = Math.floor(x);
  if (x - below !== 0.5) return Math.round(x);
  return below % 2 === 0 ? below : below + 1;
}

const held = (value, least, most) => Math.min(Math.max(value, least), most);

// A reference's symbols at a quality: M values for each place, zero where it has none.
function requantised(model, reference, quality, M) {
  const to = gainsAt(model, quality);
  const ratios = new Map();
  for (const from of new Set(reference.qualities)) {
    const gains = gainsAt(model, from);
    ratios.set(from, to.map((gain, c) => (from === quality ? 1 : gain / gains[c])));
  }
  return reference.symbols.map((symbols, place) => {
    const ratio = ratios.get(reference.qualities[place]);
    return Array.from({ length: M }, (_, c) =>
      held(roundHalfEven((symbols[c] ?? 0) * ratio[c]), -MAX_SYMBOL, MAX_SYMBOL),
    );
  });
}

class Walk {
  constructor(model, grid, frame, reference, changed) {
    const M = model.widths[frame.level];
    const zeros = () => grid.places.map(() => new Array(M).fill(0));
    Object.assign(this, { model, grid, changed, N: zeros(), D: zeros() });
    this.bias = biasAt(model, 'bias', frame.quality);
    this.reference = reference;
    if (reference === null) return;
    this.interBias = biasAt(model, 'inter_bias', frame.quality);
    this.R = requantised(model, reference, frame.quality, M);
    this.channels = reference.levels.map((level) => model.widths[level]);
    this.fineness = reference.qualities.map((quality) =>
      held(Math.floor((frame.quality - quality) / 16), 0, 127),
    );
    grid.places.filter((place) => !changed[place]).forEach((place) => {
      this.N[place] = [...this.R[place]];
    });
  }

  lut(value) {
    return this.model.lut[Math.min(Math.abs(value), 255)];
  }

  weights(kind, step) {
    return this.model.context[`${kind}_${step.chunk}_${step.pass}`];
  }

  has(step, place) {
    return (
      this.reference !== null &&
      this.weights('inter', step) !== undefined &&
      this.channels[place] >= step.end
    );
  }

  // inputs of 3 x 3 places, each a list of `size`
  inputs(place, size, of) {
    return this.grid
      .around(place)
      .flatMap((other) => (other < 0 ? new Array(size).fill(0) : of(other)));
  }

  sum(weights, inputs, c) {
    const n = weights.shape[1];
    let sum = 0;
    for (let i = 0; i < inputs.length; i++) sum += inputs[i] * weights.values[i * n + c];
    return sum;
  }

  // [table, mean] of each channel of a step at a place
  predict(step, place, isAlone) {
    const [a, b] = [step.start, step.end];
    const kinds = isAlone ? ['intra', 'mean'] : ['inter', 'inter_mean'];
    const signed = isAlone ? this.N : this.D;
    const lut = (value) => this.lut(value);
    const inputs = isAlone
      ? this.inputs(place, b, (other) => this.N[other].slice(0, b).map(lut))
      : [
          ...this.inputs(place, 3 * b - a + 1, (other) => [
            ...this.N[other].slice(0, b).map(lut),
            ...this.D[other].slice(0, b).map(lut),
            ...this.R[other].slice(a, b).map(lut),
            this.changed[other] ? 1 : 0,
          ]),
          this.fineness[place],
        ];
    const meanWeights = this.weights(kinds[1], step);
    const meanInputs = this.inputs(place, b, (other) =>
      signed[other].slice(0, b).map((value) => held(value, -1023, 1023)),
    );
    const bias = isAlone ? this.bias : this.interBias;
    const M = this.model.ends[this.model.ends.length - 1];
    return Array.from({ length: b - a }, (_, c) => {
      const S = this.sum(this.weights(kinds[0], step), inputs, c) + bias[step.pass * M + a + c];
      const scale = held(Math.floor(S / 4096), 0, NUM_SCALES - 1);
      if (meanWeights === undefined) return [8 * scale + 4, 0];
      const eighths = Math.floor((this.sum(meanWeights, meanInputs, c) + 64) / 128);
      const mean = Math.floor((eighths + 4) / 8);
      return [8 * scale + eighths - 8 * mean + 4, mean];
    });
  }

  // Decode the symbols of one section, channels start to end.
  read(section, start, end, alone) {
    const coder = new StepDecoder(section);
    const { ends, tables } = this.model;
    ends.forEach((chunkEnd, chunk) => {
      const chunkStart = chunk === 0 ? 0 : ends[chunk - 1];
      if (chunkStart < start || chunkEnd > end) return;
      this.grid.passes(chunk === 0 ? 3 : 2).forEach((all, pass) => {
        const step = { chunk, pass, start: chunkStart, end: chunkEnd };
        const places = all.filter((place) => this.changed[place]);
        const isAlone = (place) => alone[place] || !this.has(step, place);
        const predicted = places.map((place) => this.predict(step, place, isAlone(place)));
        const index = predicted.flatMap((channels) => channels.map(([table]) => table));
        const coded = coder.take(tables, index);
        const n = chunkEnd - chunkStart;
        const found = places.map((place, i) =>
          predicted[i].map(([, mean], c) => {
            const base = isAlone(place) ? 0 : this.R[place][chunkStart + c];
            return coded[i * n + c] + mean + base;
          }),
        );
        places.forEach((place, i) => this.put(step, place, found[i]));
      });
    });
    coder.finish();
  }

  put(step, place, symbols) {
    symbols.forEach((symbol, i) => {
      refuseIf(Math.abs(symbol) > MAX_SYMBOL, 'a symbol out of range');
      const c = step.start + i;
      this.N[place][c] = symbol;
      if (this.reference !== null && this.channels[place] >= step.end) {
        this.D[place][c] = symbol - this.R[place][c];
      }
    });
  }
}

// What a reader holds after a base, or after a base to which its enhancement's sections were added.
function decode(model, frame, reference) {
  const grid = new Grid(model, frame.imageHw);
  let changes = {
    changed: new Array(grid.size).fill(true),
    alone: new Array(grid.size).fill(true),
  };
  if (reference !== null) {
    const finer = reference.qualities.map((quality) => frame.quality > quality);
    changes = readChanges(model, grid, frame.changes, reference.changed, finer);
  }
  const { changed, alone } = changes;
  const coded = changed.filter(Boolean).length;
  const starts = [0, ...model.widths];
  frame.sections.forEach((section, group) => {
    const least = coded * (model.widths[group] - starts[group]) * model.leastBits;
    refuseIf(8 * (section.length + 4) < least / 2, 'fewer bytes than the symbols can be');
  });
  const walk = new Walk(model, grid, frame, reference, changed);
  frame.sections.forEach((section, group) =>
    walk.read(section, starts[group], model.widths[group], alone),
  );
  const mix = (own, before) =>
    grid.places.map((place) => (changed[place] ? own : before[place]));
  const isIntra = reference === null;
  const levels = mix(frame.level, reference?.levels);
  const M = model.widths[levels.reduce((a, b) => Math.max(a, b))];
  return {
    imageHw: frame.imageHw,
    grid,
    levels,
    M,
    qualities: mix(frame.quality, reference?.qualities),
    changed: isIntra ? changed.map(() => false) : changed,
    symbols: grid.places.map((place) => {
      const own = changed[place] ? walk.N[place] : reference.symbols[place];
      return Array.from({ length: M }, (_, c) => own[c] ?? 0);
    }),
    depth: isIntra ? 0 : reference.depth + 1,
  };
}

function symbolBytes(held) {
  const flat = held.symbols.flat();
  const bytes = Buffer.alloc(2 * flat.length);
  flat.forEach((symbol, i) => bytes.writeInt16LE(symbol, 2 * i));
  return bytes;
}

function digestOf(model, held) {
  const size = Buffer.alloc(4);
  held.imageHw.forEach((side, i) => size.writeUInt16LE(side, 2 * i));
  const qualities = Buffer.alloc(2 * held.qualities.length);
  held.qualities.forEach((quality, i) => qualities.writeUInt16LE(quality, 2 * i));
  const parts = [model.fingerprint, size, Buffer.from(held.levels), qualities];
  parts.push(Buffer.from(held.changed.map(Number)), symbolBytes(held));
  return createHash('sha256').update(Buffer.concat(parts)).digest('hex').slice(0, 10);
}

function referenceOf(model, base, held) {
  if (!base.isInter) return null;
  refuseIf(base.reference !== digestOf(model, held), 'another reference');
  refuseIf(held.depth >= MAX_DEPTH, 'too many frames before it');
  return held;
}

function read(model, bitstream, enhancement, reference) {
  const base = parse(model, bitstream, reference);
  refuseIf(base.isEnhancement, 'an enhancement without its base');
  const needed = referenceOf(model, base, reference);
  const ofBase = decode(model, base, needed);
  if (enhancement === null) return ofBase;
  const addition = parse(model, enhancement, ofBase);
  if (!addition.isEnhancement) {
    refuseIf(addition.level < base.level || addition.quality < base.quality, 'less than its base');
    refuseIf(String(addition.imageHw) !== String(base.imageHw), 'another picture');
    return decode(model, addition, referenceOf(model, addition, ofBase));
  }
  refuseIf(addition.isInter !== base.isInter, 'kinds');
  refuseIf(addition.firstGroup !== base.level + 1, 'groups');
  refuseIf(addition.quality !== base.quality, 'qualities');
  refuseIf(addition.reference !== digestOf(model, ofBase), 'another base');
  const sections = [...base.sections, ...addition.sections];
  return decode(model, { ...base, level: addition.level, sections }, needed);
}

function main() {
  const [folder, ...paths] = process.argv.slice(2);
  const model = readModel(folder);
  const lines = paths.flatMap((path) => readFileSync(path, 'utf8').trim().split('\n'));
  const vectors = new Map();
  for (const line of lines.map((text) => JSON.parse(text))) {
    const bitstream = Buffer.from(line.container, 'base64');
    const base = line.base === undefined ? undefined : vectors.get(line.base);
    const needs = base === undefined ? line.reference : base.line.reference;
    const reference = needs === undefined ? null : vectors.get(needs).held;
    const pair = base === undefined ? [bitstream, null] : [base.bitstream, bitstream];
    try {
      const held = read(model, ...pair, reference);
      vectors.set(line.name, { line, bitstream, held });
      const symbols = createHash('sha256').update(symbolBytes(held)).digest('hex');
      const shape = [held.grid.h, held.grid.w, held.M];
      const { depth } = held;
      const digest = digestOf(model, held);
      console.log(JSON.stringify({ name: line.name, digest, depth, shape, symbols }));
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      console.log(JSON.stringify({ name: line.name, refused: error.message }));
    }
  }
}

main();
