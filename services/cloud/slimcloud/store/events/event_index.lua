-- Takes or renews the lease to make events. Returns how far the feed was read (empty: not at all);
-- nothing where another process has it.
local function lead(runner)
  local holder = redis.call('GET', EVENT_RUNNER)
  if holder and holder ~= runner then return nil end
  redis.call('SET', EVENT_RUNNER, runner, 'EX', LEASE_SECONDS)
  return redis.call('GET', EVENT_POSITION) or ''
end

local function resign(runner)
  if redis.call('GET', EVENT_RUNNER) == runner then redis.call('DEL', EVENT_RUNNER) end
end

local function camera_of_event(id) return string.match(id, '^(.*)%.[^.]*%.[^.]*$') end

-- so many more bytes of an event, or fewer
local function hold_event(id, bytes)
  redis.call('INCRBY', EVENT_BYTES, string.format('%d', bytes))
  hold(camera_of_event(id), bytes)
end

-- Keeps what a frame takes to be decoded as the picture of an event; what it kept before where the
-- frame is gone. Returns the bytes of what is kept now, as far as they are new.
local function keep_picture(id, frame)
  local parts, bytes = chain_of(frame), 0
  parts[#parts + 1] = frame
  parts[#parts + 1] = redis.call('HGET', FRAME .. frame, 'container') or ''
  for i = 2, #parts, 2 do
    if parts[i] == '' then return nil end
    bytes = bytes + #parts[i]
  end
  redis.call('DEL', EVENT_PICTURE .. id)
  redis.call('RPUSH', EVENT_PICTURE .. id, unpack(parts))
  return bytes
end

local function put_event(id, begin_us, until_us, document, kind, frame)
  local key, camera = EVENT .. id, camera_of_event(id)
  local held = redis.call('HMGET', key, 'bytes', 'picture_bytes')
  redis.call('HSET', key, 'event', document)
  local picture_bytes = frame ~= '' and keep_picture(id, frame) or tonumber(held[2] or 0)
  local bytes = BYTES_OF_EVENT + #document + picture_bytes
  redis.call('HSET', key, 'bytes', bytes, 'picture_bytes', picture_bytes)
  redis.call('ZADD', EVENTS_ALL, begin_us, id)
  redis.call('ZADD', EVENTS_OF .. camera, begin_us, id)
  redis.call('ZADD', EVENTS_UNTIL, until_us, id)
  hold_event(id, bytes - (held[1] or 0))
  tell(kind, camera, '', id)
end

-- Stores what came of the feed up to a position: `...` are names and states of `num_states` cameras
-- (empty: there is nothing to remember), then of each event the arguments of `put_event`. Returns 1;
-- 0 where another process has read on, and then nothing is written.
local function commit(runner, before, position, num_states, ...)
  if redis.call('GET', EVENT_RUNNER) ~= runner then return 0 end
  if (redis.call('GET', EVENT_POSITION) or '') ~= before then return 0 end
  redis.call('SET', EVENT_POSITION, position)
  local given, at = {...}, 1
  for _ = 1, num_states do
    if given[at + 1] == '' then
      redis.call('HDEL', EVENT_STATE, given[at])
    else
      redis.call('HSET', EVENT_STATE, given[at], given[at + 1])
    end
    at = at + 2
  end
  while at < #given do
    put_event(unpack(given, at, at + 5))
    at = at + 6
  end
  return 1
end

-- Returns those of some events that there are.
local function review_events(reviewed, reviewer, ...)
  local found = {}
  for _, id in ipairs({...}) do
    if redis.call('EXISTS', EVENT .. id) == 1 then
      redis.call('HSET', EVENT .. id, 'reviewed', reviewed, 'reviewer', reviewer)
      tell(EVENT_CHANGED, camera_of_event(id), '', id)
      found[#found + 1] = id
    end
  end
  return found
end

-- Removes up to so many events whose time is over, and beyond `max_bytes` those whose time is over
-- next. Returns how many.
local function sweep_events(now_us, max_bytes, max_count)
  for removed = 0, max_count - 1 do
    local id, until_us = unpack(redis.call('ZRANGE', EVENTS_UNTIL, 0, 0, 'WITHSCORES'))
    local bytes = tonumber(redis.call('GET', EVENT_BYTES) or 0)
    if not id or (tonumber(until_us) > tonumber(now_us) and bytes <= tonumber(max_bytes)) then
      return removed
    end
    redis.call('ZREM', EVENTS_UNTIL, id)  -- first: it needs no memory
    local held = redis.call('HGET', EVENT .. id, 'bytes') or 0
    redis.call('DEL', EVENT .. id, EVENT_PICTURE .. id)
    redis.call('ZREM', EVENTS_ALL, id)
    redis.call('ZREM', EVENTS_OF .. camera_of_event(id), id)
    hold_event(id, -held)
  end
  return tonumber(max_count)
end
