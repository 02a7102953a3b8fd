-- The mean share that changed in up to `samples` frames of each part of a span, whose edges are `...`;
-- empty where none is known.
local function activity(index, samples, ...)
  local edges, means = {...}, {}
  for i = 1, #edges - 1 do
    local first = redis.call('ZCOUNT', index, '-inf', '(' .. edges[i])
    local count = redis.call('ZCOUNT', index, edges[i], '(' .. edges[i + 1])
    local sum, known = 0, 0
    for sample = 0, math.min(count, samples) - 1 do
      local rank = first + math.floor(sample * math.max(1, count / samples))
      local id = redis.call('ZRANGE', index, rank, rank)[1]
      local share = redis.call('HGET', FRAME .. id, 'activity')
      if share then sum, known = sum + share, known + 1 end
    end
    means[i] = known > 0 and tostring(sum / known) or ''
  end
  return means
end
