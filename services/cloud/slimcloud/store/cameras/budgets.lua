-- `...` are names and values in turn. Returns 1 set, 0 another request is the newest.
local function set_of_wish(camera, request_id, ...)
  if redis.call('HGET', BUDGET .. camera, 'request_id') ~= request_id then return 0 end
  redis.call('HSET', BUDGET .. camera, ...)
  return 1
end
