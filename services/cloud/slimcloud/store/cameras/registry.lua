-- Only the connection that holds a camera may let it go.
local function release(camera, connection)
  if redis.call('HGET', CAMERA .. camera, 'connection') ~= connection then return 0 end
  redis.call('HSET', CAMERA .. camera, 'connected', 0, 'connection', '')
  return 1
end
