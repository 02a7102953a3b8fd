"""The steps that must happen whole or not at all, as Redis scripts; those of the work queue alone
are in `work_scripts`. Keys are named in `slimcloud.store.keys`.

A script that Redis refuses for want of memory has written nothing: its first write is the one
that needs memory. Those that give memory back begin with one that needs none: Redis refuses no
write that comes after another of its script, so a full store can be made empty.
"""

from __future__ import annotations

from typing import Final

from slimcloud.store.work.scripts import QUEUE

__all__ = [
    "PUT_DETECTIONS",
    "PUT_ENHANCEMENT",
    "PUT_FRAME",
    "PUT_JPEG_SIZE",
    "RECORD_REVIEW",
    "REMOVE_FRAME",
    "SET_OUTCOME",
]

# count(camera's key, bytes, time in microseconds): what a camera brought today
_COUNT: Final = """
local function count(camera, bytes, time_us)
  local day = math.floor(tonumber(time_us) / 86400000000)  -- since 1970, UTC
  if tonumber(redis.call('HGET', camera, 'bytes_day') or 0) < day then
    redis.call('HSET', camera, 'bytes_day', string.format('%d', day), 'bytes_today', 0)
  end
  redis.call('HINCRBY', camera, 'bytes_today', bytes)
end
"""

# KEYS: frame, index:all, index:camera, index:received, sizes, totals, epoch, lane of work, camera
# ARGV: id, sequence, capture time, received time, container bytes, ttl, epoch ttl, max queue
# size, time of expiry, then field, value ...
# Returns 1 stored, 0 duplicate, -1 the work queue is full.
PUT_FRAME: Final = (
    QUEUE
    + _COUNT
    + """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
if redis.call('XLEN', KEYS[8]) >= tonumber(ARGV[8]) then return -1 end
for i = 10, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('EXPIRE', KEYS[1], ARGV[6])
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
redis.call('ZADD', KEYS[3], ARGV[3], ARGV[1])
redis.call('ZADD', KEYS[4], ARGV[4], ARGV[1])
redis.call('HSET', KEYS[5], ARGV[1], ARGV[5])
redis.call('HINCRBY', KEYS[6], 'frames', 1)
redis.call('HINCRBY', KEYS[6], 'frame_bytes', ARGV[5])
redis.call('HINCRBY', KEYS[6], 'stored_bytes', ARGV[5])
-- compared as text by length first: Lua's numbers are doubles and a sequence has 64 bits
local highest = redis.call('GET', KEYS[7]) or '0'
if #ARGV[2] > #highest or (#ARGV[2] == #highest and ARGV[2] > highest) then highest = ARGV[2] end
redis.call('SET', KEYS[7], highest, 'EX', ARGV[7])
enqueue(KEYS[8], ARGV[1], 'expires_unix_us', ARGV[9])
redis.call('HINCRBY', KEYS[9], 'frames_total', 1)
redis.call('HINCRBY', KEYS[9], 'bytes_total', ARGV[5])
redis.call('HSET', KEYS[9], 'last_received_time_unix_us', ARGV[4])
-- a frame that came late is not the camera's newest
if redis.call('HGET', KEYS[1], 'lane') ~= 'backfill' then
  redis.call('HSET', KEYS[9], 'last_frame_id', ARGV[1])
end
count(KEYS[9], ARGV[5], ARGV[4])
return 1
"""
)

# KEYS: frame, enhancement, sizes, totals, events, awaiting, work, camera
# ARGV: id, container, container bytes, ttl, camera, detail, events length, level, time now
# Returns 1 stored, 0 one that reaches as far is there, -1 the frame is not there. A frame that
# waits for its enhancement goes back to the work queue.
PUT_ENHANCEMENT: Final = (
    QUEUE
    + _COUNT
    + """
if redis.call('EXISTS', KEYS[1]) == 0 then return -1 end
local reached = tonumber(redis.call('HGET', KEYS[1], 'enhancement_level') or '0')
if reached >= tonumber(ARGV[8]) then return 0 end
local held = tonumber(redis.call('HGET', KEYS[1], 'enhancement_bytes') or '0')
redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[4])
redis.call('HSET', KEYS[1], 'enhancement_bytes', ARGV[3], 'enhancement_level', ARGV[8])
redis.call('HINCRBY', KEYS[3], ARGV[1], ARGV[3] - held)
redis.call('HINCRBY', KEYS[4], 'enhancements', 1)
redis.call('HINCRBY', KEYS[4], 'enhancement_bytes', ARGV[3])
redis.call('HINCRBY', KEYS[4], 'stored_bytes', ARGV[3] - held)
count(KEYS[8], ARGV[3], ARGV[9])
redis.call('XADD', KEYS[5], 'MAXLEN', '~', ARGV[7], '*', 'kind', 'enhancement.stored',
'camera_id', ARGV[5],
           'frame_id', ARGV[1], 'detail', ARGV[6])
if redis.call('ZREM', KEYS[6], ARGV[1]) == 1 then enqueue(KEYS[7], ARGV[1]) end
return 1
"""
)

# KEYS: frame, detections, totals
# ARGV: id, document, label scores, ttl, triage, presence (or empty)
# Returns 1 stored, 0 there was an outcome already, -1 the frame is not there. Its work is done.
PUT_DETECTIONS: Final = (
    QUEUE
    + """
local state = redis.call('HGET', KEYS[1], 'state')
if not state then leave(ARGV[1]) return -1 end
if state ~= 'queued' then return 0 end
redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[4])
redis.call('HSET', KEYS[1], 'state', 'detected', 'reason', '', 'label_scores', ARGV[3],
           'triage', ARGV[5], 'presence', ARGV[6])
redis.call('HINCRBY', KEYS[3], 'detected', 1)
unqueue(ARGV[1])
settle(ARGV[1])
return 1
"""
)

# KEYS: frame, totals, awaiting
# ARGV: id, state (dropped or failed), reason
# Returns 1 stored, 0 there was an outcome already, -1 the frame is not there. Its work is done.
SET_OUTCOME: Final = (
    QUEUE
    + """
local state = redis.call('HGET', KEYS[1], 'state')
if not state then leave(ARGV[1]) return -1 end
if state ~= 'queued' then return 0 end
redis.call('ZREM', KEYS[3], ARGV[1])  -- first: it needs no memory
redis.call('HSET', KEYS[1], 'state', ARGV[2], 'reason', ARGV[3])
redis.call('HINCRBY', KEYS[2], ARGV[2], 1)
unqueue(ARGV[1])
settle(ARGV[1])
return 1
"""
)

# KEYS: frame, totals
# ARGV: bytes as JPEG, container bytes
PUT_JPEG_SIZE: Final = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if redis.call('HSETNX', KEYS[1], 'jpeg_bytes', ARGV[1]) == 0 then return 0 end
redis.call('HINCRBY', KEYS[2], 'jpeg_pictures', 1)
redis.call('HINCRBY', KEYS[2], 'jpeg_bytes', ARGV[1])
redis.call('HINCRBY', KEYS[2], 'jpeg_sent_bytes', ARGV[2])
return 1
"""

# KEYS: frame, reviews, reviews of the frame, events
# ARGV: id, camera, reviews length, length of the frame's, events length, kind, reviewer, level
# (or empty), mark (or empty), comment
# Returns the id of the record; empty: the frame is not there.
RECORD_REVIEW: Final = """
if redis.call('EXISTS', KEYS[1]) == 0 then return '' end
local fields = {'frame_id', ARGV[1], 'kind', ARGV[6], 'reviewer', ARGV[7], 'level', ARGV[8],
                'mark', ARGV[9], 'comment', ARGV[10]}
local id = redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], '*', unpack(fields))
redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[4], id, unpack(fields))
redis.call('PEXPIRE', KEYS[3], redis.call('PTTL', KEYS[1]))
if ARGV[9] ~= '' then redis.call('HSET', KEYS[1], 'mark', ARGV[9]) end
if ARGV[10] ~= '' then redis.call('HINCRBY', KEYS[1], 'comments_count', 1) end
if ARGV[6] == 'note' then
  redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[5], '*', 'kind', 'review.recorded',
             'camera_id', ARGV[2], 'frame_id', ARGV[1], 'detail', id)
end
return id
"""

# KEYS: frame, enhancement, detections, reviews of the frame, index:all, index:camera,
# index:received, sizes, totals, awaiting
# ARGV: id, reason for a frame that still waits for the detector, bytes that may stay (or empty)
# Returns the bytes that it gave back; -1: no more than may stay are held, and nothing is removed.
REMOVE_FRAME: Final = (
    QUEUE
    + """
local stored = tonumber(redis.call('HGET', KEYS[9], 'stored_bytes') or '0')
if ARGV[3] ~= '' and stored <= tonumber(ARGV[3]) then return -1 end
local is_first = redis.call('ZREM', KEYS[7], ARGV[1]) == 1  -- before all: it needs no memory
local held = tonumber(redis.call('HGET', KEYS[8], ARGV[1]) or '0')
if redis.call('HGET', KEYS[1], 'state') == 'queued' then
  redis.call('HSET', KEYS[1], 'state', 'dropped', 'reason', ARGV[2])
  redis.call('HINCRBY', KEYS[9], 'dropped', 1)
  redis.call('ZREM', KEYS[10], ARGV[1])
  unqueue(ARGV[1])
  settle(ARGV[1])
end
leave(ARGV[1])  -- while its hash is there: its outcome may not have been told yet
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
redis.call('ZREM', KEYS[5], ARGV[1])
redis.call('ZREM', KEYS[6], ARGV[1])
if is_first then redis.call('HINCRBY', KEYS[9], 'removed', 1) end
redis.call('HDEL', KEYS[8], ARGV[1])
if held > 0 then redis.call('HINCRBY', KEYS[9], 'stored_bytes', -held) end  -- never "-0"
return held
"""
)
