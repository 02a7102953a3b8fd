local function remove(id)
  local is_first = redis.call('ZREM', INDEX_RECEIVED, id) == 1  -- before all: it needs no memory
  local held = tonumber(redis.call('HGET', SIZES, id) or '0')
  finish(id, 'dropped', 'reason', 'retention removed it before it was detected')
  leave(id)  -- while its hash is there: its outcome may not have been told yet
  redis.call('DEL', FRAME .. id, ENHANCEMENT .. id, DETECTIONS .. id, REVIEWS_OF .. id)
  redis.call('ZREM', INDEX_ALL, id)
  redis.call('ZREM', INDEX_CAMERA .. camera_of(id), id)
  if is_first then redis.call('HINCRBY', TOTALS, 'removed', 1) end
  redis.call('HDEL', SIZES, id)
  hold(camera_of(id), -held)
end

-- Returns how many were removed.
local function sweep(horizon_us, max_bytes, max_count)
  local function too_old()
    return redis.call('ZRANGEBYSCORE', INDEX_RECEIVED, '-inf', '(' .. horizon_us, 'LIMIT', 0, 1)[1]
  end

  local function too_much()
    if tonumber(redis.call('HGET', TOTALS, 'stored_bytes') or '0') <= tonumber(max_bytes) then
      return nil
    end
    local largest = redis.call('ZREVRANGE', SHARES, 0, 0)[1]
    local id = largest and redis.call('ZRANGE', INDEX_CAMERA .. largest, 0, 0)[1]
    if largest and not id then redis.call('ZREM', SHARES, largest) end
    return id or redis.call('ZRANGE', INDEX_RECEIVED, 0, 0)[1]  -- an older build counted no shares
  end

  for removed = 0, max_count - 1 do
    local id = too_old() or too_much()
    if not id then return removed end
    remove(id)
  end
  return max_count
end
