-- Takes up to `count` entries, the most urgent lane first, of backfill at most `backfill_count`,
-- cameras by turns; live ones get a place in the order. Returns them as {lane, entry, id}, and for
-- each lane the newest entry that there ever was: to wait for the next one.
local function take(consumer, max_count, backfill_count)
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
end

-- Lines up what an older build, or one that broke off, has put on a lane and no worker has; nothing
-- where every frame is in a line or with a worker.
local function line_up_new(lane)
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
end

-- Looks at so many live frames of a camera that no worker has, from the `first` on. Returns at how
-- many there were, and id and time of storing of those whose deadline has passed.
local function expired(camera, first, count, now_us)
  local waiting = redis.call('LRANGE', line_of(WORK, camera), first, first + count - 1)
  local late = {}
  for _, entry in ipairs(waiting) do
    local id = string.match(entry, '%S+$')
    local of = redis.call('HMGET', FRAME .. id, 'expires_unix_us', 'stored_us',
                          'received_time_unix_us')
    local expires_us = tonumber(of[1] or 0)
    if expires_us > 0 and expires_us < tonumber(now_us) then
      late[#late + 1] = {id, of[2] or of[3]}
    end
  end
  return {#waiting, late}
end

local function fail_try(id, error_text)
  if redis.call('EXISTS', FRAME .. id) == 1 then
    redis.call('HSET', FRAME .. id, 'last_error', error_text)
  end
  leave(id)
end

-- Outcomes that waited for `max_wait_ms` wait no more, 100 at a time; frames before them lose their
-- places. Returns how many.
local function release_held(max_wait_ms)
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
end

-- Gives a frame up: its entry goes to the dead letters. Returns the reason; empty: another worker
-- has done it.
local function dead_letter(lane, entry, id, deliveries)
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
end

-- Takes a frame off the work queue until its enhancement up to `level` is there, at most until
-- `deadline`; one that is there already puts it back at once. Returns 1 parked, 0 too many wait
-- (nothing is changed), -1 it has an outcome or is gone.
local function park(id, presence, deadline, level, max_frames)
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
end
