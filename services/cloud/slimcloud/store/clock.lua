local function read_clock(max_pause_us)
  local time = redis.call('TIME')
  local wall_us = 1000000 * time[1] + time[2]
  local last = redis.call('HMGET', CLOCK, 'wall_us', 'us')
  local passed_us = wall_us - (last[1] or wall_us)
  if passed_us < 0 or passed_us > tonumber(max_pause_us) then passed_us = 0 end
  local us = (last[2] or wall_us) + passed_us
  redis.call('DEL', CLOCK)  -- first: it needs no memory
  redis.call('HSET', CLOCK, 'wall_us', wall_us, 'us', us)
  return us
end
