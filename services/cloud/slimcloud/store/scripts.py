"""The steps that must happen whole or not at all, as Redis scripts; those of the work queue alone
are in `work.scripts`. Keys are named in `slimcloud.store.keys`, a frame's fields in `stored_frame`.

A script that Redis refuses for want of memory has written nothing: its first write is the one
that needs memory. Those that give memory back begin with one that needs none: Redis refuses no
write that comes after another of its script, so a full store can be made empty.
"""

from __future__ import annotations

from slimcloud.store.lua import Script
from slimcloud.store.work.scripts import QUEUE

# count(camera's key, bytes, time in microseconds): what a camera brought today
_COUNT = """
local function count(camera, bytes, time_us)
  local day = math.floor(tonumber(time_us) / 86400000000)  -- since 1970, UTC
  if tonumber(redis.call('HGET', camera, 'bytes_day') or 0) < day then
    redis.call('HSET', camera, 'bytes_day', string.format('%d', day), 'bytes_today', 0)
  end
  redis.call('HINCRBY', camera, 'bytes_today', bytes)
end
"""

# `fields` are names and values in turn, `lane` is the lane of work. Returns 1 stored, 0 duplicate,
# -1 the work queue is full.
PUT_FRAME = Script(
    """
if redis.call('EXISTS', frame) == 1 then return 0 end
if redis.call('XLEN', lane) >= tonumber(max_queue_size) then return -1 end
redis.call('HSET', frame, unpack(fields))
redis.call('EXPIRE', frame, ttl)
redis.call('ZADD', index_all, captured_us, id)
redis.call('ZADD', index_camera, captured_us, id)
redis.call('ZADD', index_received, received_us, id)
redis.call('HSET', sizes, id, bytes)
redis.call('HINCRBY', totals, 'frames', 1)
redis.call('HINCRBY', totals, 'frame_bytes', bytes)
redis.call('HINCRBY', totals, 'stored_bytes', bytes)
-- compared as text by length first: Lua's numbers are doubles and a sequence has 64 bits
local highest = redis.call('GET', epoch) or '0'
if #sequence > #highest or (#sequence == #highest and sequence > highest) then
  highest = sequence
end
redis.call('SET', epoch, highest, 'EX', epoch_ttl)
enqueue(lane, id, 'expires_unix_us', expires_us)
redis.call('HINCRBY', camera, 'frames_total', 1)
redis.call('HINCRBY', camera, 'bytes_total', bytes)
redis.call('HSET', camera, 'last_received_time_unix_us', received_us)
-- a frame that came late is not the camera's newest
if redis.call('HGET', frame, 'lane') ~= 'backfill' then
  redis.call('HSET', camera, 'last_frame_id', id)
end
count(camera, bytes, received_us)
return 1
""",
    keys="frame index_all index_camera index_received sizes totals epoch lane camera",
    args="id sequence captured_us received_us bytes ttl epoch_ttl max_queue_size expires_us",
    more="fields",
    library=QUEUE + _COUNT,
)

# Returns 1 stored, 0 one that reaches as far is there, -1 the frame is not there. A frame that
# waits for its enhancement goes back to the work queue.
PUT_ENHANCEMENT = Script(
    """
if redis.call('EXISTS', frame) == 0 then return -1 end
local reached = tonumber(redis.call('HGET', frame, 'enhancement_level') or '0')
if reached >= tonumber(level) then return 0 end
local held = tonumber(redis.call('HGET', frame, 'enhancement_bytes') or '0')
redis.call('SET', enhancement, container, 'EX', ttl)
redis.call('HSET', frame, 'enhancement_bytes', bytes, 'enhancement_level', level)
redis.call('HINCRBY', sizes, id, bytes - held)
redis.call('HINCRBY', totals, 'enhancements', 1)
redis.call('HINCRBY', totals, 'enhancement_bytes', bytes)
redis.call('HINCRBY', totals, 'stored_bytes', bytes - held)
count(camera, bytes, now_us)
redis.call('XADD', events, 'MAXLEN', '~', events_length, '*', 'kind', event,
           'camera_id', camera_id, 'frame_id', id, 'detail', request_id)
if redis.call('ZREM', awaiting, id) == 1 then enqueue(live, id) end
return 1
""",
    keys="frame enhancement sizes totals events awaiting live camera",
    args="id container bytes ttl camera_id request_id level now_us events_length event",
    library=QUEUE + _COUNT,
)

# Returns 1 stored, 0 there was an outcome already, -1 the frame is not there. Its work is done.
PUT_DETECTIONS = Script(
    """
local state = redis.call('HGET', frame, 'state')
if not state then leave(id) return -1 end
if state ~= 'queued' then return 0 end
redis.call('SET', detections, document, 'EX', ttl)
redis.call('HSET', frame, 'state', 'detected', 'reason', '', 'label_scores', label_scores,
           'triage', triage, 'presence', presence)
redis.call('HINCRBY', totals, 'detected', 1)
unqueue(id)
settle(id)
return 1
""",
    keys="frame detections totals",
    args="id document label_scores ttl triage presence",
    library=QUEUE,
)

# Of a frame that is dropped or failed. Returns as PUT_DETECTIONS.
SET_OUTCOME = Script(
    """
local state = redis.call('HGET', frame, 'state')
if not state then leave(id) return -1 end
if state ~= 'queued' then return 0 end
redis.call('ZREM', awaiting, id)  -- first: it needs no memory
redis.call('HSET', frame, 'state', outcome, 'reason', reason)
redis.call('HINCRBY', totals, outcome, 1)
unqueue(id)
settle(id)
return 1
""",
    keys="frame totals awaiting",
    args="id outcome reason",
    library=QUEUE,
)

# `level` and `mark` may be empty. Returns the id of the record; empty: the frame is not there.
RECORD_REVIEW = Script(
    """
if redis.call('EXISTS', frame) == 0 then return '' end
local fields = {'frame_id', id, 'kind', kind, 'reviewer', reviewer, 'level', level,
                'mark', mark, 'comment', comment}
local entry = redis.call('XADD', reviews, 'MAXLEN', '~', reviews_length, '*', unpack(fields))
redis.call('XADD', reviews_of_frame, 'MAXLEN', '~', reviews_of_frame_length, entry, unpack(fields))
redis.call('PEXPIRE', reviews_of_frame, redis.call('PTTL', frame))
if mark ~= '' then redis.call('HSET', frame, 'mark', mark) end
if comment ~= '' then redis.call('HINCRBY', frame, 'comments_count', 1) end
if kind == 'note' then
  redis.call('XADD', events, 'MAXLEN', '~', events_length, '*', 'kind', event,
             'camera_id', camera_id, 'frame_id', id, 'detail', entry)
end
return entry
""",
    keys="frame reviews reviews_of_frame events",
    args="id camera_id reviews_length reviews_of_frame_length events_length event kind reviewer "
    "level mark comment",
)

# `reason` is for a frame that still waits for the detector, `max_bytes` may stay (or empty).
# Returns the bytes that it gave back; -1: no more than may stay are held, and nothing is removed.
REMOVE_FRAME = Script(
    """
local stored = tonumber(redis.call('HGET', totals, 'stored_bytes') or '0')
if max_bytes ~= '' and stored <= tonumber(max_bytes) then return -1 end
local is_first = redis.call('ZREM', index_received, id) == 1  -- before all: it needs no memory
local held = tonumber(redis.call('HGET', sizes, id) or '0')
if redis.call('HGET', frame, 'state') == 'queued' then
  redis.call('HSET', frame, 'state', 'dropped', 'reason', reason)
  redis.call('HINCRBY', totals, 'dropped', 1)
  redis.call('ZREM', awaiting, id)
  unqueue(id)
  settle(id)
end
leave(id)  -- while its hash is there: its outcome may not have been told yet
redis.call('DEL', frame, enhancement, detections, reviews_of_frame)
redis.call('ZREM', index_all, id)
redis.call('ZREM', index_camera, id)
if is_first then redis.call('HINCRBY', totals, 'removed', 1) end
redis.call('HDEL', sizes, id)
if held > 0 then redis.call('HINCRBY', totals, 'stored_bytes', -held) end  -- never "-0"
return held
""",
    keys="frame enhancement detections reviews_of_frame index_all index_camera index_received "
    "sizes totals awaiting",
    args="id reason max_bytes",
    library=QUEUE,
)
