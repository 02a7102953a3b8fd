-- What the scripts of the store share: see `scripts.py`. The names in capitals are those of
-- `keys.py` and of `FeedKind`.

local function camera_of(id) return string.match(id, '^[^:]*') end

-- another frame of the same start of the same camera
local function sibling(id, sequence) return string.match(id, '^.*:') .. sequence end

-- the intra frame that a frame descends from: itself where it has no reference
local function root_of(id)
  local sequence = redis.call('HGET', FRAME .. id, 'root')
  return sequence and sibling(id, sequence) or id
end

-- what must be decoded before a frame, from the intra frame on: ids and containers in turn
local function chain_of(id)
  local chain = {}
  while true do
    local reference = redis.call('HGET', FRAME .. id, 'reference_sequence')
    if not reference or #chain > 2 * MAX_DEPTH then return chain end
    id = sibling(id, reference)
    table.insert(chain, 1, redis.call('HGET', FRAME .. id, 'container') or '')
    table.insert(chain, 1, id)
  end
end

local function now_ms()
  local time = redis.call('TIME')
  return 1000 * time[1] + math.floor(time[2] / 1000)
end

-- write an entry of the feed
local function tell(kind, camera, id, detail)
  redis.call('XADD', FEED, 'MAXLEN', '~', FEED_LENGTH, '*', 'kind', kind,
             'camera_id', camera, 'frame_id', id, 'detail', detail)
end

-- what its share is beside that of another camera
local function weight_of(camera) return tonumber(redis.call('HGET', WEIGHTS, camera) or 1) end

local function line_of(lane, camera) return LINE .. lane .. ':' .. camera end

local function line_up(lane, entry, id)
  local camera = camera_of(id)
  redis.call('RPUSH', line_of(lane, camera), entry .. ' ' .. id)
  if not redis.call('ZSCORE', TURNS .. lane, camera) then
    local paid = redis.call('HMGET', PAID .. lane, camera, '')
    redis.call('ZADD', TURNS .. lane, math.max(paid[1] or 0, paid[2] or 0), camera)
  end
end

local function step_out(lane, entry, id)
  local line = line_of(lane, camera_of(id))
  if redis.call('LREM', line, 1, entry .. ' ' .. id) == 1 and redis.call('LLEN', line) == 0 then
    redis.call('ZREM', TURNS .. lane, camera_of(id))
  end
end

-- entry and id of the frame whose turn it is; nothing where none waits
local function next_in(lane)
  local camera, paid = unpack(redis.call('ZRANGE', TURNS .. lane, 0, 0, 'WITHSCORES'))
  if not camera then return end
  local entry, id = string.match(redis.call('LINDEX', line_of(lane, camera), 0), '^(%S+) (%S+)$')
  step_out(lane, entry, id)
  local hw = redis.call('HMGET', FRAME .. id, 'image_height', 'image_width')
  local then_paid = paid + (hw[1] or 0) * (hw[2] or 0) / 1e6 / weight_of(camera)
  redis.call('HSET', PAID .. lane, '', paid, camera, then_paid)
  redis.call('ZADD', TURNS .. lane, 'XX', then_paid, camera)
  return entry, id
end

-- A full lane has room for a camera with less than its share, up to twice as many in all.
local function has_room(lane, camera, max_queue_size)
  local held = redis.call('XLEN', lane)
  if held < tonumber(max_queue_size) then return true end
  if held >= 2 * max_queue_size then return false end
  local mine, weight = redis.call('LLEN', line_of(lane, camera)), weight_of(camera)
  local weights = mine == 0 and weight or 0
  for _, waiting in ipairs(redis.call('ZRANGE', TURNS .. lane, 0, -1)) do
    weights = weights + weight_of(waiting)
  end
  return mine < max_queue_size * weight / weights
end

-- put a frame on a lane; its hash remembers where, in `work`
local function enqueue(lane, id)
  local entry = redis.call('XADD', lane, '*', 'frame_id', id)
  line_up(lane, entry, id)
  if redis.call('EXISTS', FRAME .. id) == 1 then
    redis.call('HSET', FRAME .. id, 'work', lane .. ' ' .. entry)
  end
end

-- take it off again, whether a worker holds it or not
local function unqueue(id)
  local work = redis.call('HGET', FRAME .. id, 'work')
  if not work then return end
  local lane, entry = string.match(work, '^(%S+) (%S+)$')
  redis.call('XACK', lane, DETECT_GROUP, entry)
  redis.call('XDEL', lane, entry)
  step_out(lane, entry, id)
  redis.call('HDEL', FRAME .. id, 'work')
end

-- put a frame that waits for its enhancement back on the live lane
local function wake(id)
  if redis.call('ZREM', AWAITING, id) == 0 then return 0 end
  enqueue(WORK, id)
  return 1
end

-- What a camera of mean weight is granted of the detectors' time while results are late, megapixels
-- a second: one for all, so it settles at what the cameras that need more can have alike. A late result
-- cuts it, at first to what one worker does, and again only after the result of a frame that came
-- since then; one in time adds up to a fifth in a second. Cameras that keep to nothing (older ones)
-- cannot cut it below half of an equal share of one worker. All it takes is `waited_us` in the
-- cloud, `cost_us` of one worker for the frame, and the deadline that its camera aims for.
local function grant(id, waited_us, cost_us, now_us)
  local camera = camera_of(id)
  local of = redis.call('HMGET', FRAME .. id, 'image_height', 'image_width', 'lane', 'requested',
                        'presence')
  local deadline_us = 1e6 * (redis.call('HGET', CAMERA .. camera, 'deadline_seconds') or 0)
  -- what came late waits for what is live, a person's wish or an enhancement for others
  if deadline_us == 0 or of[3] == 'backfill' or of[4] or of[5] then return end
  redis.call('ZADD', GRANTED, now_us, camera)
  redis.call('ZREMRANGEBYSCORE', GRANTED, '-inf', now_us - 1e7)  -- nothing for ten seconds
  local megapixels = of[1] * of[2] / 1e6
  local was = redis.call('HMGET', GRANT, 'megapixels', 'at_us', 'cut_us', 'cost_us')
  local cost = cost_us / megapixels
  cost = 0.9 * (was[4] or cost) + 0.1 * cost
  redis.call('HSET', GRANT, 'at_us', now_us, 'cost_us', cost)
  local granted, worker = tonumber(was[1]), 1e6 / cost
  local in_time_us = math.max(deadline_us / 2, 1.75 * cost * megapixels)
  if now_us - waited_us < tonumber(was[3] or 0) then return end
  if waited_us > in_time_us then
    granted = math.min(granted or worker, worker) * math.max(0.7, in_time_us / waited_us)
    granted = math.max(granted, worker / 2 / redis.call('ZCARD', GRANTED))
    redis.call('HSET', GRANT, 'megapixels', granted, 'cut_us', now_us)
  elseif granted then
    local seconds = math.min(2, (now_us - was[2]) / 1e6)
    granted = granted * (1 + 0.2 * seconds * math.min(1, in_time_us / waited_us - 1))
    if granted > 250 then  -- 4K at 30 frames a second: nobody needs more
      redis.call('HDEL', GRANT, 'megapixels')
    else
      redis.call('HSET', GRANT, 'megapixels', granted)
    end
  end
end

local KIND_OF = {detected = FRAME_DETECTED, dropped = FRAME_DROPPED, failed = FRAME_FAILED}

local function announce(id)
  local of = redis.call('HMGET', FRAME .. id, 'state', 'reason', 'lane', 'requested')
  if not of[1] or of[1] == 'queued' then return end
  local kind = KIND_OF[of[1]]
  -- what came late is for the record: whoever waits for live detections must not hear of it
  if of[1] == 'detected' and (of[3] == 'backfill' or of[4]) then kind = FRAME_BACKFILLED end
  tell(kind, camera_of(id), id, of[2] or '')
end

local function advance(order)
  while true do
    local id = redis.call('ZRANGE', order, 0, 0)[1]
    if not id or redis.call('HGET', FRAME .. id, 'state') == 'queued' then return end
    redis.call('ZREM', order, id)
    if redis.call('ZREM', HELD, id) == 1 then announce(id) end
  end
end

-- give up its place in the order; those behind it need not wait for it
local function leave(id)
  local order = ORDER .. camera_of(id)
  if redis.call('ZREM', order, id) == 0 then return end
  if redis.call('ZREM', HELD, id) == 1 then announce(id) end
  advance(order)
end

-- it has its outcome, and more fields: off the queue, and told. 1 done, 0 it had an outcome before,
-- or is gone
local function finish(id, state, ...)
  local before = redis.call('HGET', FRAME .. id, 'state')
  if not before then leave(id) end
  if before ~= 'queued' then return 0 end
  redis.call('ZREM', AWAITING, id)  -- first: it needs no memory
  redis.call('HSET', FRAME .. id, 'state', state, ...)
  redis.call('HINCRBY', TOTALS, state, 1)
  unqueue(id)
  local order = ORDER .. camera_of(id)
  if redis.call('ZSCORE', order, id) then
    redis.call('ZADD', HELD, now_ms(), id)
    advance(order)
  else
    announce(id)
  end
  return 1
end

-- bytes of frames that are held now: so many more, or fewer
local function hold(camera, bytes)
  redis.call('HINCRBY', TOTALS, 'stored_bytes', string.format('%d', bytes))  -- never "-0"
  if tonumber(redis.call('ZINCRBY', SHARES, bytes, camera)) <= 0 then
    redis.call('ZREM', SHARES, camera)
  end
end

-- what a camera brought today
local function count(camera, bytes, time_us)
  local day = math.floor(tonumber(time_us) / 86400000000)  -- since 1970, UTC
  if tonumber(redis.call('HGET', CAMERA .. camera, 'bytes_day') or 0) ~= day then
    redis.call('HSET', CAMERA .. camera, 'bytes_day', string.format('%d', day), 'bytes_today', 0)
  end
  redis.call('HINCRBY', CAMERA .. camera, 'bytes_today', bytes)
end
