"""The steps that must happen whole or not at all, as Redis scripts. A room's own script stands
beside its caller; those of frames and of the work queue are here.

Every script begins with the names of `slimcloud.store.keys` and of `EventKind`, and with what is
in `library.lua`:

    enqueue(lane, id)         put a frame on a lane; its hash remembers where, in `work`
    has_room(lane, ...)       whether it may be
    unqueue(id)               take it off again, whether a worker holds it or not
    wake(id)                  put a frame that waits for its enhancement back on the live lane
    finish(id, state, ...)    it has its outcome, and more fields: off the queue, and told
    leave(id)                 give up its place in the order; those behind it need not wait for it
    tell(kind, camera, ...)   write an event
    grant(id, waited_us, ...) what each camera is granted, from how long this frame took

A lane is a stream of all its frames until they are done, and for each camera a line of those that
no worker has taken. Cameras take turns, whoever has paid least first, and pay the pixels of the
frame that is taken: start-time fair queueing. One that was away begins where the others are.

A live frame gets a place in `slim:order:{camera}` when a worker takes it. Its event is written when
every frame before it has its own; until then its id is in `slim:held`, by the time of its outcome.
`announce` writes the event; `slimcloud.ingest.event_relay` reads it and tells the camera.

A script that Redis refuses for want of memory has written nothing: its first write is the one
that needs memory. Those that give memory back begin with one that needs none: Redis refuses no
write that comes after another of its script, so a full store can be made empty.
"""

import functools
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.commands.core import AsyncScript

from slimcloud.store import keys
from slimcloud.store.events import EventKind


@functools.cache
def library() -> str:
    """What every script begins with: the names, and the functions of `library.lua`."""
    names = {name: value for name, value in vars(keys).items() if name.isupper()}
    names |= {kind.name: kind.value for kind in EventKind}
    declared = "".join(f"local {name} = {value!r}\n" for name, value in names.items())
    return declared + Path(__file__).with_name("library.lua").read_text(encoding="utf-8")


class Script:
    """A step in Lua that happens whole or not at all.

    Args:
        body: reads its arguments as local variables, and names its keys itself.
        args: names of the arguments, with blanks between.
        more: name of a table of all further arguments; empty = there are none.
    """

    def __init__(self, body: str, args: str, *, more: str = "") -> None:
        self._args, self._more = args.split(), more
        named = f"local {', '.join(self._args)} = unpack(ARGV)\n"
        rest = f"local {more} = {{unpack(ARGV, {len(self._args) + 1})}}\n" if more else ""
        self.body = f"{named}{rest}{body.lstrip()}"
        self._run: AsyncScript | None = None  # with its digest; of whichever client came first

    async def __call__(
        self, client: Redis, *more: str | float | bytes, **named: str | float | bytes
    ) -> Any:
        """What the script returns, as Redis gives it.

        Raises:
            TypeError: a name is missing, or none of the script's.
        """
        if named.keys() != set(self._args) or (more and not self._more):
            raise TypeError(f"got {sorted(named)}; expected {sorted(self._args)}")
        if self._run is None:
            self._run = client.register_script(library() + self.body)
        return await self._run(args=[*(named[name] for name in self._args), *more], client=client)


# --- frames ---

# `fields` are names and values in turn, `lane` is the lane of work. Returns 1 stored, 0 duplicate,
# -1 the work queue is full, -2 the store is not the one meant (empty: whichever).
PUT_FRAME = Script(
    """
if store_id ~= '' and redis.call('GET', STORE_ID) ~= store_id then return -2 end
if redis.call('EXISTS', FRAME .. id) == 1 then return 0 end
local camera, epoch, sequence = string.match(id, '^(.*):(.*):(.*)$')
if not has_room(lane, camera, max_queue_size) then return -1 end
redis.call('HSET', FRAME .. id, unpack(fields))
local received_us, stored_us, bytes, offset_us = unpack(redis.call('HMGET',
  FRAME .. id, 'received_time_unix_us', 'stored_us', 'base_bytes', 'clock_offset_us'))
stored_us = stored_us or received_us
redis.call('ZADD', INDEX_ALL, captured_us, id)
redis.call('ZADD', INDEX_CAMERA .. camera, captured_us, id)
redis.call('ZADD', INDEX_RECEIVED, stored_us, id)
redis.call('HSET', SIZES, id, bytes)
redis.call('HINCRBY', TOTALS, 'frames', 1)
redis.call('HINCRBY', TOTALS, 'frame_bytes', bytes)
hold(camera, bytes)
-- compared as text by length first: Lua's numbers are doubles and a sequence has 64 bits
local epoch_key = EPOCH .. camera .. ':' .. epoch
local highest = redis.call('GET', epoch_key) or '0'
if #sequence > #highest or (#sequence == #highest and sequence > highest) then
  highest = sequence
end
redis.call('SET', epoch_key, highest, 'EX', EPOCH_TTL_SECONDS)
redis.call('ZADD', EPOCHS .. camera, stored_us, epoch)
for _, old in ipairs(redis.call('ZRANGE', EPOCHS .. camera, 0, -1 - EPOCHS_PER_CAMERA)) do
  redis.call('DEL', EPOCH .. camera .. ':' .. old)
  redis.call('ZREM', EPOCHS .. camera, old)
end
enqueue(lane, id)
redis.call('HINCRBY', CAMERA .. camera, 'frames_total', 1)
redis.call('HINCRBY', CAMERA .. camera, 'bytes_total', bytes)
redis.call('HSET', CAMERA .. camera, 'last_received_time_unix_us', received_us,
           'heard_us', stored_us)
if lane ~= WORK_BACKFILL then  -- a frame that came late is not the camera's newest
  redis.call('HSET', CAMERA .. camera, 'last_frame_id', id, 'clock_offset_us', offset_us or 0)
end
count(camera, bytes, received_us)
return 1
""",
    "id lane captured_us max_queue_size store_id",
    more="fields",
)

# Returns 1 stored, 0 one that reaches as far is there, -1 the frame is not there. A frame that
# waits for its enhancement goes back to the work queue.
PUT_ENHANCEMENT = Script(
    """
if redis.call('EXISTS', FRAME .. id) == 0 then return -1 end
local reached = tonumber(redis.call('HGET', FRAME .. id, 'enhancement_level') or '0')
if reached >= tonumber(level) then return 0 end
local held = tonumber(redis.call('HGET', FRAME .. id, 'enhancement_bytes') or '0')
local bytes = #container
redis.call('SET', ENHANCEMENT .. id, container)
redis.call('HSET', FRAME .. id, 'enhancement_bytes', bytes, 'enhancement_level', level)
redis.call('HINCRBY', SIZES, id, bytes - held)
redis.call('HINCRBY', TOTALS, 'enhancements', 1)
redis.call('HINCRBY', TOTALS, 'enhancement_bytes', bytes)
hold(camera_of(id), bytes - held)
count(camera_of(id), bytes, now_us)
tell(ENHANCEMENT_STORED, camera_of(id), id, request_id)
wake(id)
return 1
""",
    "id container request_id level now_us",
)

# Returns as `finish`.
PUT_DETECTIONS = Script(
    """
if redis.call('HGET', FRAME .. id, 'state') == 'queued' then  -- first: it needs memory
  redis.call('SET', DETECTIONS .. id, document)
  grant(id, tonumber(waited_us), tonumber(cost_us), tonumber(now_us))
end
return finish(id, 'detected', 'reason', '', 'label_scores', label_scores,
              'triage', triage, 'presence', presence)
""",
    "id document label_scores triage presence waited_us cost_us now_us",
)

# Of a frame that is dropped or failed. Returns as `finish`.
SET_OUTCOME = Script("return finish(id, state, 'reason', reason)", "id state reason")

# --- the work queue ---

# A person wants a frame detected after all. Returns 1 queued, 0 it is not dropped or failed, -1 it
# is not there, -2 the lane is full.
REQUEST = Script(
    """
local of = redis.call('HMGET', FRAME .. id, 'state', 'dead')
if not of[1] then return -1 end
if of[1] ~= 'dropped' and of[1] ~= 'failed' then return 0 end
if not has_room(WORK_REVIEW, camera_of(id), max_queue_size) then return -2 end
leave(id)
redis.call('HSET', FRAME .. id, 'state', 'queued', 'reason', '', 'expires_unix_us', 0,
           'requested', 1)
redis.call('HDEL', FRAME .. id, 'dead', 'last_error')
redis.call('HINCRBY', TOTALS, of[1], -1)
if of[2] then redis.call('XDEL', DEAD, of[2]) end
enqueue(WORK_REVIEW, id)
return 1
""",
    "id max_queue_size",
)

# Takes up to `count` entries, the most urgent lane first, of backfill at most `backfill_count`,
# cameras by turns; live ones get a place in the order. Returns them as {lane, entry, id}, and for
# each lane the newest entry that there ever was: to wait for the next one.
TAKE = Script(
    """
local taken, newest = {}, {}
for number, lane in ipairs({WORK_REVIEW, WORK, WORK_BACKFILL}) do
  local room = tonumber(max_count) - #taken
  if lane == WORK_BACKFILL then room = math.min(room, tonumber(backfill_count)) end
  redis.call('XPENDING', lane, DETECT_GROUP)  -- an error before anything is taken: no such group
  for _ = 1, room do
    local entry, id = next_in(lane)
    if not entry then break end
    redis.call('XCLAIM', lane, DETECT_GROUP, consumer, 0, entry, 'FORCE', 'JUSTID')
    if lane == WORK then
      redis.call('ZADD', ORDER .. camera_of(id), redis.call('INCR', PLACES), id)
    end
    taken[#taken + 1] = {number, entry, id}
  end
  local about = redis.call('XINFO', 'STREAM', lane)
  for i = 1, #about, 2 do
    if about[i] == 'last-generated-id' then newest[number] = about[i + 1] end
  end
end
return {taken, newest}
""",
    "consumer max_count backfill_count",
)

# Lines up what an older build, or one that broke off, has put on a lane and no worker has; nothing
# where every frame is in a line or with a worker.
LINE_UP = Script(
    """
local lined = redis.call('XPENDING', lane, DETECT_GROUP)[1]
for _, camera in ipairs(redis.call('ZRANGE', TURNS .. lane, 0, -1)) do
  lined = lined + redis.call('LLEN', line_of(lane, camera))
end
if redis.call('XLEN', lane) <= lined then return end
local last = '0-0'
for _, group in ipairs(redis.call('XINFO', 'GROUPS', lane)) do
  for i = 1, #group, 2 do
    if group[i] == 'last-delivered-id' then last = group[i + 1] end
  end
end
for _, entry in ipairs(redis.call('XRANGE', lane, '(' .. last, '+')) do
  local id = entry[2][2]
  if #redis.call('XPENDING', lane, DETECT_GROUP, entry[1], entry[1], 1) == 0 then
    step_out(lane, entry[1], id)
    line_up(lane, entry[1], id)
  end
end
""",
    "lane",
)

# Looks at so many live frames of a camera that no worker has, from the `first` on. Returns at how
# many there were, and id and time of storing of those whose deadline has passed.
EXPIRED = Script(
    """
local waiting = redis.call('LRANGE', line_of(WORK, camera), first, first + count - 1)
local expired = {}
for _, entry in ipairs(waiting) do
  local id = string.match(entry, '%S+$')
  local of = redis.call('HMGET', FRAME .. id, 'expires_unix_us', 'stored_us',
                        'received_time_unix_us')
  local expires_us = tonumber(of[1] or 0)
  if expires_us > 0 and expires_us < tonumber(now_us) then
    expired[#expired + 1] = {id, of[2] or of[3]}
  end
end
return {#waiting, expired}
""",
    "camera first count now_us",
)

LEAVE = Script("leave(id)", "id")

FAIL_TRY = Script(
    """
if redis.call('EXISTS', FRAME .. id) == 1 then
  redis.call('HSET', FRAME .. id, 'last_error', error_text)
end
leave(id)
""",
    "id error_text",
)

# Outcomes that waited for `max_wait_ms` wait no more, 100 at a time; frames before them lose their
# places. Returns how many.
RELEASE = Script(
    """
local overdue = redis.call('ZRANGEBYSCORE', HELD, '-inf', now_ms() - max_wait_ms, 'LIMIT', 0, 100)
for _, id in ipairs(overdue) do
  local order = ORDER .. camera_of(id)
  local rank = redis.call('ZRANK', order, id) or 0
  for _, before in ipairs(rank > 0 and redis.call('ZRANGE', order, 0, rank - 1) or {}) do
    if redis.call('HGET', FRAME .. before, 'state') == 'queued' then
      redis.call('ZREM', order, before)
    end
  end
  advance(order)
  redis.call('ZREM', HELD, id)  -- already, unless its place was gone
end
return #overdue
""",
    "max_wait_ms",
)

# Gives a frame up: its entry goes to the dead letters. Returns the reason; empty: another worker
# has done it.
DEAD_LETTER = Script(
    """
redis.call('XACK', lane, DETECT_GROUP, entry)
if redis.call('XDEL', lane, entry) == 0 then return '' end
local last_error = redis.call('HGET', FRAME .. id, 'last_error')
local reason = 'given up after ' .. deliveries .. ' deliveries: '
               .. (last_error or 'its workers died without a word')
local letter = redis.call('XADD', DEAD, 'MAXLEN', '~', DEAD_LENGTH, '*', 'frame_id', id,
                          'reason', reason, 'deliveries', deliveries)
finish(id, 'failed', 'reason', reason, 'dead', letter)
leave(id)
return reason
""",
    "lane entry id deliveries",
)

# Takes a frame off the work queue until its enhancement up to `level` is there, at most until
# `deadline`; one that is there already puts it back at once. Returns 1 parked, 0 too many wait
# (nothing is changed), -1 it has an outcome or is gone.
PARK = Script(
    """
if redis.call('HGET', FRAME .. id, 'state') ~= 'queued' then return -1 end
if redis.call('ZCARD', AWAITING) >= tonumber(max_frames) then return 0 end
redis.call('HSET', FRAME .. id, 'presence', presence)
unqueue(id)
redis.call('ZADD', AWAITING, deadline, id)
if tonumber(redis.call('HGET', FRAME .. id, 'enhancement_level') or '0') >= tonumber(level) then
  wake(id)
end
leave(id)
return 1
""",
    "id presence deadline level max_frames",
)

WAKE = Script("return wake(id)", "id")
