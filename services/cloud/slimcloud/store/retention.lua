local function remove(id)
  local held = tonumber(redis.call('HGET', SIZES, id) or '0')
  local is_first = redis.call('HDEL', SIZES, id) == 1  -- before all: it needs no memory
  finish(id, 'dropped', 'reason', 'retention removed it before it was detected')
  leave(id)  -- while its hash is there: its outcome may not have been told yet
  redis.call('DEL', FRAME .. id, ENHANCEMENT .. id, DETECTIONS .. id, REVIEWS_OF .. id)
  redis.call('ZREM', INDEX_ALL, id)
  redis.call('ZREM', INDEX_CAMERA .. camera_of(id), id)
  if is_first then redis.call('HINCRBY', TOTALS, 'removed', 1) end
  hold(camera_of(id), -held)
end

-- Removes up to so many frames of the tree of an intra frame, what is needed after what needs it;
-- how many.
local function fell(root, max_count)
  redis.call('ZREM', INDEX_RECEIVED, root)  -- first: it needs no memory
  for count = 1, max_count do
    local sequence = redis.call('RPOP', TREE .. root)
    if not sequence then
      remove(root)
      redis.call('SREM', FELLED, root)
      return count
    end
    remove(sibling(root, sequence))
  end
  redis.call('SADD', FELLED, root)  -- the rest goes next time
  return max_count
end

local function remove_tree(id) return fell(root_of(id), math.huge) end

-- Returns how many were removed.
local function sweep(horizon_us, max_bytes, frame_bytes, max_count)
  local function half_felled() return redis.call('SRANDMEMBER', FELLED) end

  local function too_old()
    return redis.call('ZRANGEBYSCORE', INDEX_RECEIVED, '-inf', '(' .. horizon_us, 'LIMIT', 0, 1)[1]
  end

  local function too_much()
    local function with_frames(bytes, index)
      return (tonumber(bytes) or 0) + frame_bytes * redis.call('ZCARD', index)
    end

    local stored = with_frames(redis.call('HGET', TOTALS, 'stored_bytes'), INDEX_ALL)
    if stored <= tonumber(max_bytes) then return nil end
    local largest, most = nil, 0
    local shares = redis.call('ZRANGE', SHARES, 0, -1, 'WITHSCORES')
    for i = 1, #shares, 2 do
      local held = with_frames(shares[i + 1], INDEX_CAMERA .. shares[i])
      if held > most then largest, most = shares[i], held end
    end
    local id = largest and redis.call('ZRANGE', INDEX_CAMERA .. largest, 0, 0)[1]
    if largest and not id then redis.call('ZREM', SHARES, largest) end
    id = id or redis.call('ZRANGE', INDEX_RECEIVED, 0, 0)[1]  -- an older build counted no shares
    return id and root_of(id)
  end

  local removed = 0
  while removed < tonumber(max_count) do
    local root = half_felled() or too_old() or too_much()
    if not root then return removed end
    removed = removed + fell(root, max_count - removed)
  end
  return removed
end
