"""The work queue's steps that must happen whole or not at all, as Redis scripts; see `work`.

`QUEUE` goes before a script and gives it:

    enqueue(stream, id)   put a frame on a lane; its hash remembers where, in `work`
    unqueue(id)           take it off again, whether a worker holds it or not
    settle(id)            its outcome is stored: write the event now, or when its turn comes
    leave(id)             give up its place in the order; those behind it need not wait for it

A live frame gets a place in `slim:order:{camera}` when a worker takes it. Its event is written when
every frame before it has its own; until then its id is in `slim:held`, by the time of its outcome.

The functions name keys themselves, which Redis Cluster would not allow (`keys` says so).
"""

from __future__ import annotations

from typing import Final

from slimcloud.store import keys

__all__ = ["BURY", "FAIL_TRY", "LEAVE", "PARK", "QUEUE", "RELEASE", "REQUEST", "TAKE", "WAKE"]

QUEUE: Final = (
    f"""
local FRAME, ORDER, HELD = '{keys.frame_key("")}', '{keys.order_key("")}', '{keys.HELD}'
local EVENTS, EVENTS_LENGTH = '{keys.EVENTS}', {keys.EVENTS_LENGTH}
local GROUP = '{keys.DETECT_GROUP}'
"""
    + """
local function camera_of(id) return string.match(id, '^[^:]*') end

local function now_ms()
  local time = redis.call('TIME')
  return 1000 * time[1] + math.floor(time[2] / 1000)
end

local function enqueue(stream, id, ...)
  local entry = redis.call('XADD', stream, '*', 'frame_id', id, ...)
  if redis.call('EXISTS', FRAME .. id) == 1 then
    redis.call('HSET', FRAME .. id, 'work', stream .. ' ' .. entry)
  end
end

local function unqueue(id)
  local work = redis.call('HGET', FRAME .. id, 'work')
  if not work then return end
  local stream, entry = string.match(work, '^(%S+) (%S+)$')
  redis.call('XACK', stream, GROUP, entry)
  redis.call('XDEL', stream, entry)
  redis.call('HDEL', FRAME .. id, 'work')
end

local function announce(id)
  local of = redis.call('HMGET', FRAME .. id, 'state', 'reason', 'lane', 'requested')
  if not of[1] or of[1] == 'queued' then return end
  local kind = 'frame.' .. of[1]
  -- what came late is for the record: whoever waits for live detections must not hear of it
  if of[1] == 'detected' and (of[3] == 'backfill' or of[4]) then kind = 'frame.backfilled' end
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

# KEYS: lanes, most urgent first; then the counter of places
# ARGV: consumer, most entries, most entries of the last lane, number of the lane that keeps order
# Returns the entries {lane, entry, id}, and for each lane the newest entry that there ever was: to
# wait for the next one.
TAKE: Final = (
    QUEUE
    + """
local lanes = #KEYS - 1
local taken, newest = {}, {}
for lane = 1, lanes do
  local room = tonumber(ARGV[2]) - #taken
  if lane == lanes then room = math.min(room, tonumber(ARGV[3])) end
  local reply = room > 0 and redis.call('XREADGROUP', 'GROUP', GROUP, ARGV[1], 'COUNT', room,
                                        'STREAMS', KEYS[lane], '>')
  for _, entry in ipairs(reply and reply[1][2] or {}) do
    local id = entry[2][2]
    if lane == tonumber(ARGV[4]) then
      redis.call('ZADD', ORDER .. camera_of(id), redis.call('INCR', KEYS[#KEYS]), id)
    end
    taken[#taken + 1] = {lane, entry[1], id}
  end
  local about = redis.call('XINFO', 'STREAM', KEYS[lane])
  for i = 1, #about, 2 do
    if about[i] == 'last-generated-id' then newest[lane] = about[i + 1] end
  end
end
return {taken, newest}
"""
)

# ARGV: id
LEAVE: Final = QUEUE + "leave(ARGV[1])"

# ARGV: id, error
FAIL_TRY: Final = (
    QUEUE
    + """
if redis.call('EXISTS', FRAME .. ARGV[1]) == 1 then
  redis.call('HSET', FRAME .. ARGV[1], 'last_error', ARGV[2])
end
leave(ARGV[1])
"""
)

# KEYS: held
# ARGV: longest wait (milliseconds), most frames
# Outcomes that waited so long wait no more; frames before them lose their places. Returns how many.
RELEASE: Final = (
    QUEUE
    + """
local latest = now_ms() - ARGV[1]
local overdue = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', latest, 'LIMIT', 0, ARGV[2])
for _, id in ipairs(overdue) do
  local order = ORDER .. camera_of(id)
  local rank = redis.call('ZRANK', order, id) or 0
  for _, before in ipairs(rank > 0 and redis.call('ZRANGE', order, 0, rank - 1) or {}) do
    if redis.call('HGET', FRAME .. before, 'state') == 'queued' then
      redis.call('ZREM', order, before)
    end
  end
  advance(order)
  redis.call('ZREM', KEYS[1], id)  -- already, unless its place was gone
end
return #overdue
"""
)

# KEYS: lane, frame, dead letters, totals
# ARGV: id, entry, deliveries, reason for a worker that died without a word, dead letters' length
# Returns the reason; empty: another worker has buried it.
BURY: Final = (
    QUEUE
    + """
redis.call('XACK', KEYS[1], GROUP, ARGV[2])
if redis.call('XDEL', KEYS[1], ARGV[2]) == 0 then return '' end
local of = redis.call('HMGET', KEYS[2], 'state', 'last_error')
local reason = 'given up after ' .. ARGV[3] .. ' deliveries: ' .. (of[2] or ARGV[4])
local letter = redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[5], '*', 'frame_id', ARGV[1],
                          'reason', reason, 'deliveries', ARGV[3])
if of[1] == 'queued' then
  redis.call('HSET', KEYS[2], 'state', 'failed', 'reason', reason, 'dead', letter)
  redis.call('HDEL', KEYS[2], 'work')
  redis.call('HINCRBY', KEYS[4], 'failed', 1)
  settle(ARGV[1])
end
leave(ARGV[1])
return reason
"""
)

# KEYS: frame, lane, dead letters, totals
# ARGV: id, most frames that may wait in the lane
# A person wants a frame detected after all. Returns 1 queued, 0 it is not dropped or failed, -1 it
# is not there, -2 the lane is full.
REQUEST: Final = (
    QUEUE
    + """
local of = redis.call('HMGET', KEYS[1], 'state', 'dead')
if not of[1] then return -1 end
if of[1] ~= 'dropped' and of[1] ~= 'failed' then return 0 end
if redis.call('XLEN', KEYS[2]) >= tonumber(ARGV[2]) then return -2 end
leave(ARGV[1])
redis.call('HSET', KEYS[1], 'state', 'queued', 'reason', '', 'expires_unix_us', 0, 'requested', 1)
redis.call('HDEL', KEYS[1], 'dead', 'last_error')
redis.call('HINCRBY', KEYS[4], of[1], -1)
if of[2] then redis.call('XDEL', KEYS[3], of[2]) end
enqueue(KEYS[2], ARGV[1])
return 1
"""
)

# KEYS: frame, awaiting, live lane
# ARGV: id, presence, deadline, level that is awaited, most frames that may wait
# Takes a frame off the work queue until its enhancement is there; one that is there already puts it
# back at once. Returns 1 parked, 0 too many wait (nothing is changed), -1 it has an outcome or is
# gone.
PARK: Final = (
    QUEUE
    + """
if redis.call('HGET', KEYS[1], 'state') ~= 'queued' then return -1 end
if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[5]) then return 0 end
redis.call('HSET', KEYS[1], 'presence', ARGV[2])
unqueue(ARGV[1])
if tonumber(redis.call('HGET', KEYS[1], 'enhancement_level') or '0') >= tonumber(ARGV[4]) then
  enqueue(KEYS[3], ARGV[1])
else
  redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
end
leave(ARGV[1])
return 1
"""
)

# KEYS: awaiting, live lane
# ARGV: id
# Returns 1 put back on the work queue, 0 it did not wait.
WAKE: Final = (
    QUEUE
    + """
if redis.call('ZREM', KEYS[1], ARGV[1]) == 0 then return 0 end
enqueue(KEYS[2], ARGV[1])
return 1
"""
)
