-- `...` are names and values of fields in turn, `lane` is the lane of work, `reference` the sequence
-- of the frame that it needs (0: none). Returns 1 stored, 0 duplicate, -1 the work queue is full,
-- -2 the store is not the one meant (empty: whichever), -3 its reference is not there, -4 that has as
-- many before it as may be, -5 the first of these is too long ago.
local function put_frame(id, lane, captured_us, max_queue_size, store_id, reference, max_depth,
                         now_us, ...)
  if store_id ~= '' and redis.call('GET', STORE_ID) ~= store_id then return -2 end
  if redis.call('EXISTS', FRAME .. id) == 1 then return 0 end
  local camera, epoch, sequence = string.match(id, '^(.*):(.*):(.*)$')
  local root, depth = id, 0
  if reference ~= '0' then
    local needed = sibling(id, reference)
    local of = redis.call('HMGET', FRAME .. needed, 'state', 'depth')
    root, depth = root_of(needed), (of[2] or 0) + 1
    local begun = redis.call('HMGET', FRAME .. root, 'stored_us', 'received_time_unix_us')
    local is_gone = not of[1] or not begun[2] or redis.call('SISMEMBER', FELLED, root) == 1
    if is_gone or of[1] == 'failed' then return -3 end
    if depth > tonumber(max_depth) then return -4 end
    local age_us = now_us - (begun[1] or begun[2])
    if lane ~= WORK_BACKFILL and age_us > 1e6 * MAX_TREE_SECONDS then return -5 end
  end
  if not has_room(lane, camera, max_queue_size) then return -1 end
  redis.call('HSET', FRAME .. id, ...)
  local received_us, stored_us, bytes, offset_us = unpack(redis.call('HMGET',
    FRAME .. id, 'received_time_unix_us', 'stored_us', 'base_bytes', 'clock_offset_us'))
  stored_us = stored_us or received_us
  redis.call('ZADD', INDEX_ALL, captured_us, id)
  redis.call('ZADD', INDEX_CAMERA .. camera, captured_us, id)
  redis.call('ZADD', INDEX_RECEIVED, stored_us, root)
  if root ~= id then
    redis.call('HSET', FRAME .. id, 'depth', depth, 'root', string.match(root, '[^:]*$'))
    redis.call('RPUSH', TREE .. root, sequence)
  end
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
    redis.call('HSETNX', CAMERA .. camera, 'waits_since_us', stored_us)
  end
  count(camera, bytes, received_us)
  return 1
end

-- Returns 1 stored, 0 one that reaches as far is there, -1 the frame is not there. A frame that
-- waits for its enhancement goes back to the work queue.
local function put_enhancement(id, container, request_id, level, quality, now_us)
  if redis.call('EXISTS', FRAME .. id) == 0 then return -1 end
  local held, reached, finest = unpack(redis.call('HMGET', FRAME .. id, 'enhancement_bytes',
                                                  'enhancement_level', 'enhancement_quality'))
  held = tonumber(held or '0')
  if held > 0 and tonumber(reached or '0') >= tonumber(level)
     and tonumber(finest or '0') >= tonumber(quality) then
    return 0
  end
  local bytes = #container
  redis.call('SET', ENHANCEMENT .. id, container)
  redis.call('HSET', FRAME .. id, 'enhancement_bytes', bytes, 'enhancement_level', level)
  if tonumber(quality) > 0 then
    redis.call('HSET', FRAME .. id, 'enhancement_quality', quality)
  else
    redis.call('HDEL', FRAME .. id, 'enhancement_quality')
  end
  redis.call('HINCRBY', SIZES, id, bytes - held)
  redis.call('HINCRBY', TOTALS, 'enhancements', 1)
  redis.call('HINCRBY', TOTALS, 'enhancement_bytes', bytes)
  hold(camera_of(id), bytes - held)
  count(camera_of(id), bytes, now_us)
  tell(ENHANCEMENT_STORED, camera_of(id), id, request_id)
  wake(id)
  return 1
end

-- Returns as `finish`.
local function put_detections(id, document, label_scores, triage, presence, activity, waited_us,
                              cost_us, detected_us, now_us)
  if redis.call('HGET', FRAME .. id, 'state') == 'queued' then  -- first: it needs memory
    local more = #document - redis.call('STRLEN', DETECTIONS .. id)
    redis.call('SET', DETECTIONS .. id, document)
    redis.call('HINCRBY', SIZES, id, more)
    hold(camera_of(id), more)
    grant(id, tonumber(waited_us), tonumber(cost_us), tonumber(now_us))
  end
  local is_first = finish(id, 'detected', 'reason', '', 'label_scores', label_scores,
                          'triage', triage, 'presence', presence)
  if is_first == 1 and activity ~= '' then
    redis.call('HSET', FRAME .. id, 'activity', activity)
  end
  local captured_us = redis.call('ZSCORE', INDEX_ALL, id)
  if is_first == 1 and captured_us and redis.call('HGET', FRAME .. id, 'lane') == 'live' then
    local lag_seconds = math.max(0, detected_us - captured_us) / 1e6
    redis.call('HSET', CAMERA .. camera_of(id), 'lag_seconds', lag_seconds)
    redis.call('HDEL', CAMERA .. camera_of(id), 'waits_since_us')
  end
  return is_first
end

local function load_chains(...)
  local chains = {}
  for number, id in ipairs({...}) do chains[number] = chain_of(id) end
  return chains
end

-- Of a frame that is dropped or failed. Returns as `finish`.
local function set_outcome(id, state, reason)
  return finish(id, state, 'reason', reason)
end

-- A person wants a frame detected after all. Returns 1 queued, 0 it is not dropped or failed, -1 it
-- is not there, -2 the lane is full.
local function request(id, max_queue_size)
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
end
