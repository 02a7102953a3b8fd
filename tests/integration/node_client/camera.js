// A camera that streams containers from a folder: one client of docs/develop/protocol.md, in another language.
//
//   node camera.js --address 127.0.0.1:50051 --camera gate --containers FOLDER [--damage N] [--break-after N] [--minor 1]
//
// The files of FOLDER are sent in order of name as sequences 1, 2, 3 ...; then a Gap tells that no more come, and the
// stream is closed in order. A file `0003.needs-0001.slw` was coded against frame 1, and waits until that is PERSISTED.
// What happens is printed as one JSON object a line. `--damage N` flips a bit of frame N the
// first time, `--break-after N` drops the connection when frame N is PERSISTED, `--minor 1` speaks as clients did before
// references and short frames.

import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import grpc from '@grpc/grpc-js';
import protoLoader from '@grpc/proto-loader';

const PROTO_ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..', 'proto');
const MAX_TIMES_SENT = 3; // of one frame that arrives damaged
const FIRST_WAIT_MS = 500; // bounds of the random wait before a reconnect
const LAST_WAIT_MS = 30_000;
const CHANNEL_OPTIONS = { 'grpc.keepalive_time_ms': 30_000, 'grpc.keepalive_timeout_ms': 10_000 };
const FOR_GOOD = new Set([
  grpc.status.INVALID_ARGUMENT,
  grpc.status.UNAUTHENTICATED,
  grpc.status.PERMISSION_DENIED,
  grpc.status.FAILED_PRECONDITION,
]);

const { slimwire } = grpc.loadPackageDefinition(
  protoLoader.loadSync('slimwire/v1/ingest.proto', {
    includeDirs: [PROTO_ROOT],
    keepCase: true, // fields as in the .proto file
    longs: String, // 64 bits do not fit a number
    enums: String,
    defaults: true,
    oneofs: true,
  }),
);

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc;
});

const PERSISTED = { state: 'persisted', isPersisted: true };

/** CRC-32C (Castagnoli) of bytes. */
function crc32c(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = CRC_TABLE[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

const print = (event, fields = {}) => console.log(JSON.stringify({ event, ...fields }));
const nowUnixUs = () => BigInt(Date.now()) * 1000n;
const nowMonoUs = () => process.hrtime.bigint() / 1000n;

const VERSION_AT = 4; // of a container
/** Where a container has the fingerprint of its model; one that needs another frame has none. */
const fingerprintOf = (container) => (container[VERSION_AT] < 3 ? container.subarray(6, 14) : container.subarray(9, 17));

/** One camera: what it has to send, and how far the cloud has taken each frame. */
class Camera {
  constructor(options) {
    this.options = options;
    this.epoch = String(nowUnixUs());
    this.waitMs = FIRST_WAIT_MS;
    this.hasBroken = false;
    this.gap = null; // told when all frames are safe
    this.frames = new Map(); // by sequence, as text: 64 bits
    readdirSync(options.containers)
      .sort()
      .forEach((name, index) => {
        const container = readFileSync(join(options.containers, name));
        const captured = { unixUs: nowUnixUs(), monoUs: nowMonoUs() };
        const reference = String(Number(/\.needs-(\d+)\./.exec(name)?.[1] ?? 0));
        this.frames.set(String(index + 1), { container, captured, reference, state: 'waiting', timesSent: 0 });
      });
  }

  sequences(...states) {
    return [...this.frames.keys()].filter((sequence) => states.includes(this.frames.get(sequence).state));
  }

  /** Open a stream, and go on where the last one ended. */
  connect() {
    const { address, camera } = this.options;
    const service = new slimwire.v1.IngestService(address, grpc.credentials.createInsecure(), CHANNEL_OPTIONS);
    const uplink = service.StreamFrames();
    this.service = service;
    this.uplink = uplink;
    this.credit = 0;
    uplink.on('data', (answer) => this.uplink === uplink && this.take(answer));
    uplink.on('error', () => {}); // 'status' says the same
    uplink.on('status', (status) => this.uplink === uplink && this.end(status));
    const [first] = this.frames.values();
    const inDoubt = this.sequences('sent', 'received');
    print('hello', { unpersisted_sequences: inDoubt });
    this.hello = { unixUs: nowUnixUs(), monoUs: nowMonoUs() };
    this.say({
      hello: {
        camera_id: camera,
        epoch: this.epoch,
        model_fingerprint: fingerprintOf(first.container),
        model_name: 'pre-encoded',
        protocol_minor: this.options.minor,
        unpersisted_sequences: inDoubt,
        time_mono_us: String(this.hello.monoUs),
        time_unix_us: this.options.minor > 1 ? String(this.hello.unixUs) : '0',
      },
    });
  }

  say(message) {
    this.uplink.write(message);
  }

  take(answer) {
    const kind = answer.message;
    const body = answer[kind];
    if (kind === undefined) return; // of the future
    print(kind, body.container === undefined ? body : {});
    if (kind === 'welcome') this.takeWelcome(body);
    else if (kind === 'ack') this.takeAck(body);
    else if (kind === 'nack') this.takeNack(body);
    else if (kind === 'credit') this.credit = body.credit_bytes;
    else if (kind === 'command') this.takeCommand(body);
    else if (kind === 'gap_ack') this.uplink.end(); // the last word
    else if (kind === 'drain') this.leave(body.reconnect_after_ms);
    if (this.uplink.writable) this.sendOn();
  }

  takeWelcome(welcome) {
    this.waitMs = FIRST_WAIT_MS;
    this.credit = welcome.credit_bytes;
    this.maxFrameBytes = welcome.max_frame_bytes;
    this.isShort = this.options.minor > 1 && welcome.protocol_minor > 1;
    this.reconnectAfterMs = undefined;
    if (this.storeId !== undefined && this.storeId !== welcome.store_id) {
      for (const frame of this.frames.values()) Object.assign(frame, { state: 'sent', isPersisted: false }); // all are still here
    }
    this.storeId = welcome.store_id;
    for (const sequence of welcome.persisted_sequences) Object.assign(this.frames.get(sequence), PERSISTED);
    for (const sequence of this.sequences('sent', 'received')) this.frames.get(sequence).state = 'waiting';
    // Their results may have come about meanwhile, and be told only if they were sent again: do not wait for them.
    for (const sequence of this.sequences('persisted')) this.frames.get(sequence).state = 'done';
  }

  takeAck(ack) {
    const frame = this.frames.get(ack.sequence);
    if (frame === undefined || ack.request_id !== '') return;
    const states = { STAGE_RECEIVED: 'received', STAGE_PERSISTED: 'persisted', STAGE_DETECTED: 'done' };
    frame.state = states[ack.stage] ?? frame.state;
    if (ack.stage !== 'STAGE_RECEIVED') frame.isPersisted = true;
    if (ack.stage === 'STAGE_PERSISTED' && ack.sequence === this.options.breakAfter && !this.hasBroken) {
      this.hasBroken = true;
      this.break();
    }
  }

  takeNack(nack) {
    const frame = this.frames.get(nack.sequence);
    if (frame === undefined || nack.request_id !== '') return;
    frame.state = 'done';
    if (nack.reason === 'NACK_REASON_REFERENCE') {
      for (const sent of this.frames.values()) if (sent.timesSent > 0) sent.isForgotten = true; // not to be named any more
    }
    if (!nack.retryable || frame.timesSent >= MAX_TIMES_SENT) return;
    const again = () => {
      frame.state = 'waiting';
      if (this.uplink.writable) this.sendOn();
    };
    frame.state = 'resting';
    setTimeout(again, nack.retry_after_ms);
  }

  takeCommand(command) {
    const { request_id: requestId } = command;
    if (command.command === 'set_budget') this.say({ acceptance: { request_id: requestId } });
    else this.say({ refusal: { request_id: requestId, detail: 'this camera has base containers only' } });
  }

  /** Send what the credit allows, and the gap when all frames are through. */
  sendOn() {
    if (this.reconnectAfterMs !== undefined) return; // the server is about to stop
    for (const sequence of this.sequences('waiting')) {
      const frame = this.frames.get(sequence);
      const needed = this.frames.get(frame.reference);
      if (needed !== undefined && (needed.isForgotten || !needed.isPersisted)) {
        if (needed.isForgotten || needed.state === 'done') frame.state = 'done'; // it never will be
      } else if (frame.container.length > this.maxFrameBytes) {
        frame.state = 'done';
      } else if (this.hasRoom(frame.container.length)) {
        this.sendFrame(sequence, frame);
      } else {
        return;
      }
    }
    if (this.sequences('done').length === this.frames.size && this.gap === null) this.tellGap();
  }

  hasRoom(bytes) {
    if (this.credit === 0) return false;
    const underWay = this.sequences('sent').reduce((sum, sequence) => sum + this.frames.get(sequence).container.length, 0);
    return underWay === 0 || underWay + bytes <= this.credit;
  }

  sendFrame(sequence, frame) {
    frame.state = 'sent';
    frame.timesSent += 1;
    const container = Buffer.from(frame.container);
    if (sequence === this.options.damage && frame.timesSent === 1) container[container.length - 1] ^= 1;
    const tellsItself = this.isShort && container[VERSION_AT] >= 3;
    const times = this.isShort
      ? { capture_after_us: String(frame.captured.monoUs - this.hello.monoUs) }
      : { capture_time_unix_us: String(frame.captured.unixUs), capture_time_mono_us: String(frame.captured.monoUs) };
    this.say({
      frame: {
        sequence,
        ...times,
        container,
        container_crc32c: tellsItself ? 0 : crc32c(frame.container),
        reference_sequence: frame.reference,
      },
    });
  }

  tellGap() {
    this.gap = {
      gap_number: '1',
      from_time_unix_us: this.epoch,
      to_time_unix_us: String(nowUnixUs()),
      reason: 'GAP_REASON_STOPPED',
      detail: 'the folder is at its end',
    };
    this.say({ gap: this.gap });
  }

  /** The server is about to stop: say no more, hear its last answers, come back. */
  leave(reconnectAfterMs) {
    this.reconnectAfterMs = reconnectAfterMs;
    this.uplink.end();
  }

  /** Lose the connection without a word, as a cut link does, and come back. */
  break() {
    print('break');
    const { uplink, service } = this;
    this.uplink = { writable: false };
    uplink.cancel();
    service.close();
    this.comeBack();
  }

  end(status) {
    print('end', { code: grpc.status[status.code], details: status.details });
    this.service.close();
    this.uplink = { writable: false };
    if (status.code === grpc.status.OK && this.reconnectAfterMs === undefined) return;
    if (FOR_GOOD.has(status.code)) process.exitCode = 1;
    else this.comeBack();
  }

  comeBack() {
    this.gap = null; // without its GapAck it is told again
    const wait = (this.reconnectAfterMs ?? 0) + Math.random() * this.waitMs;
    this.waitMs = Math.min(2 * this.waitMs, LAST_WAIT_MS);
    setTimeout(() => this.connect(), wait);
  }
}

const { values } = parseArgs({
  options: {
    address: { type: 'string', default: '127.0.0.1:50051' },
    camera: { type: 'string', default: 'node' },
    containers: { type: 'string' },
    damage: { type: 'string' },
    'break-after': { type: 'string' },
    minor: { type: 'string', default: '2' },
  },
});
new Camera({ ...values, breakAfter: values['break-after'], minor: Number(values.minor) }).connect();
