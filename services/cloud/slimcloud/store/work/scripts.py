"""The work queue's steps that must happen whole or not at all, as Redis scripts; see `queue`.

`QUEUE` goes before a script and gives it:

    enqueue(lane, id)     put a frame on a lane; its hash remembers where, in `work`
    unqueue(id)           take it off again, whether a worker holds it or not
    settle(id)            its outcome is stored: write the event now, or when its turn comes
    leave(id)             give up its place in the order; those behind it need not wait for it

A live frame gets a place in `slim:order:{camera}` when a worker takes it. Its event is written when
every frame before it has its own; until then its id is in `slim:held`, by the time of its outcome.
`announce` writes the event; `slimcloud.ingest.event_relay` reads it and tells the camera.

The functions name keys themselves, which Redis Cluster would not allow (`keys` says so).
"""

from __future__ import annotations

from slimcloud.store import keys
from slimcloud.store.lua import Script
from slimcloud.store.records import EventKind

QUEUE = (
    f"""
local FRAME, ORDER, HELD = '{keys.frame_key("")}', '{keys.order_key("")}', '{keys.HELD}'
local EVENTS, EVENTS_LENGTH = '{keys.EVENTS}', {keys.EVENTS_LENGTH}
local GROUP = '{keys.DETECT_GROUP}'
local KIND_OF = {{detected = '{EventKind.FRAME_DETECTED}', dropped = '{EventKind.FRAME_DROPPED}',
                 failed = '{EventKind.FRAME_FAILED}', late = '{EventKind.FRAME_BACKFILLED}'}}
"""
    + """
local function camera_of(id) return string.match(id, '^[^:]*') end

local function now_ms()
  local time = redis.call('TIME')
  return 1000 * time[1] + math.floor(time[2] / 1000)
end

local function enqueue(lane, id, ...)
  local entry = redis.call('XADD', lane, '*', 'frame_id', id, ...)
  if redis.call('EXISTS', FRAME .. id) == 1 then
    redis.call('HSET', FRAME .. id, 'work', lane .. ' ' .. entry)
  end
end

local function unqueue(id)
  local work = redis.call('HGET', FRAME .. id, 'work')
  if not work then return end
  local lane, entry = string.match(work, '^(%S+) (%S+)$')
  redis.call('XACK', lane, GROUP, entry)
  redis.call('XDEL', lane, entry)
  redis.call('HDEL', FRAME .. id, 'work')
end

local function announce(id)
  local of = redis.call('HMGET', FRAME .. id, 'state', 'reason', 'lane', 'requested')
  if not of[1] or of[1] == 'queued' then return end
  local kind = KIND_OF[of[1]]
  -- what came late is for the record: whoever waits for live detections must not hear of it
  if of[1] == 'detected' and (of[3] == 'backfill' or of[4]) then kind = KIND_OF.late end
  redis.call('XADD', EVENTS, 'MAXLEN', '~', EVENTS_LENGTH, '*', 'kind', kind,
             'camera_id', camera_of(id), 'frame_id', id, 'detail', of[2] or '')
end

local function advance(order)
  while true do
    local id = redis.call('ZRANGE', order, 0, 0)[1]
    if not id or redis.call('HGET', FRAME .. id, 'state') == 'queued' then return end
    redis.call('ZREM', order, id)
    if redis.call('ZREM', HELD, id) == 1 then announce(id) end
  end
end

local function settle(id)
  local order = ORDER .. camera_of(id)
  if not redis.call('ZSCORE', order, id) then
    announce(id)
  else
    redis.call('ZADD', HELD, now_ms(), id)
    advance(order)
  end
end

local function leave(id)
  local order = ORDER .. camera_of(id)
  if redis.call('ZREM', order, id) == 0 then return end
  if redis.call('ZREM', HELD, id) == 1 then announce(id) end
  advance(order)
end
"""
)

# Takes up to `count` entries, the most urgent lane first, of backfill at most `backfill_count`;
# live ones get a place in the order. Returns them as {lane, entry, id}, and for each lane the
# newest entry that there ever was: to wait for the next one.
TAKE = Script(
    """
local lanes = {review, live, backfill}
local taken, newest = {}, {}
for number, lane in ipairs(lanes) do
  local room = tonumber(count) - #taken
  if lane == backfill then room = math.min(room, tonumber(backfill_count)) end
  local reply = room > 0 and redis.call('XREADGROUP', 'GROUP', GROUP, consumer, 'COUNT', room,
                                        'STREAMS', lane, '>')
  for _, entry in ipairs(reply and reply[1][2] or {}) do
    local id = entry[2][2]
    if lane == live then
      redis.call('ZADD', ORDER .. camera_of(id), redis.call('INCR', places), id)
    end
    taken[#taken + 1] = {number, entry[1], id}
  end
  local about = redis.call('XINFO', 'STREAM', lane)
  for i = 1, #about, 2 do
    if about[i] == 'last-generated-id' then newest[number] = about[i + 1] end
  end
end
return {taken, newest}
""",
    keys="review live backfill places",
    args="consumer count backfill_count",
    library=QUEUE,
)

LEAVE = Script("leave(id)", args="id", library=QUEUE)

FAIL_TRY = Script(
    """
if redis.call('EXISTS', FRAME .. id) == 1 then
  redis.call('HSET', FRAME .. id, 'last_error', error_text)
end
leave(id)
""",
    args="id error_text",
    library=QUEUE,
)

# Outcomes that waited for `max_wait_ms` wait no more; frames before them lose their places.
# Returns how many.
RELEASE = Script(
    """
local overdue = redis.call('ZRANGEBYSCORE', held, '-inf', now_ms() - max_wait_ms,
                           'LIMIT', 0, max_frames)
for _, id in ipairs(overdue) do
  local order = ORDER .. camera_of(id)
  local rank = redis.call('ZRANK', order, id) or 0
  for _, before in ipairs(rank > 0 and redis.call('ZRANGE', order, 0, rank - 1) or {}) do
    if redis.call('HGET', FRAME .. before, 'state') == 'queued' then
      redis.call('ZREM', order, before)
    end
  end
  advance(order)
  redis.call('ZREM', held, id)  -- already, unless its place was gone
end
return #overdue
""",
    keys="held",
    args="max_wait_ms max_frames",
    library=QUEUE,
)

# Gives a frame up: its entry goes to the dead letters. `died` is said of workers that left no
# error. Returns the reason; empty: another worker has done it.
DEAD_LETTER = Script(
    """
redis.call('XACK', lane, GROUP, entry)
if redis.call('XDEL', lane, entry) == 0 then return '' end
local of = redis.call('HMGET', frame, 'state', 'last_error')
local reason = 'given up after ' .. deliveries .. ' deliveries: ' .. (of[2] or died)
local letter = redis.call('XADD', dead_letters, 'MAXLEN', '~', dead_letters_length, '*',
                          'frame_id', id, 'reason', reason, 'deliveries', deliveries)
if of[1] == 'queued' then
  redis.call('HSET', frame, 'state', 'failed', 'reason', reason, 'dead', letter)
  redis.call('HDEL', frame, 'work')
  redis.call('HINCRBY', totals, 'failed', 1)
  settle(id)
end
leave(id)
return reason
""",
    keys="lane frame dead_letters totals",
    args="id entry deliveries died dead_letters_length",
    library=QUEUE,
)

# A person wants a frame detected after all. Returns 1 queued, 0 it is not dropped or failed, -1 it
# is not there, -2 the lane is full.
REQUEST = Script(
    """
local of = redis.call('HMGET', frame, 'state', 'dead')
if not of[1] then return -1 end
if of[1] ~= 'dropped' and of[1] ~= 'failed' then return 0 end
if redis.call('XLEN', lane) >= tonumber(max_queue_size) then return -2 end
leave(id)
redis.call('HSET', frame, 'state', 'queued', 'reason', '', 'expires_unix_us', 0, 'requested', 1)
redis.call('HDEL', frame, 'dead', 'last_error')
redis.call('HINCRBY', totals, of[1], -1)
if of[2] then redis.call('XDEL', dead_letters, of[2]) end
enqueue(lane, id)
return 1
""",
    keys="frame lane dead_letters totals",
    args="id max_queue_size",
    library=QUEUE,
)

# Takes a frame off the work queue until its enhancement up to `level` is there, at most until
# `deadline`; one that is there already puts it back at once. Returns 1 parked, 0 too many wait
# (nothing is changed), -1 it has an outcome or is gone.
PARK = Script(
    """
if redis.call('HGET', frame, 'state') ~= 'queued' then return -1 end
if redis.call('ZCARD', awaiting) >= tonumber(max_frames) then return 0 end
redis.call('HSET', frame, 'presence', presence)
unqueue(id)
if tonumber(redis.call('HGET', frame, 'enhancement_level') or '0') >= tonumber(level) then
  enqueue(live, id)
else
  redis.call('ZADD', awaiting, deadline, id)
end
leave(id)
return 1
""",
    keys="frame awaiting live",
    args="id presence deadline level max_frames",
    library=QUEUE,
)

# Returns 1 put back on the work queue, 0 it did not wait.
WAKE = Script(
    """
if redis.call('ZREM', awaiting, id) == 0 then return 0 end
enqueue(live, id)
return 1
""",
    keys="awaiting live",
    args="id",
    library=QUEUE,
)
