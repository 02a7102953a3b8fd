-- Returns 1 new or changed, 0 the same is there.
local function put_gap(camera, name, document, end_us, max_per_camera)
  if redis.call('HGET', GAP_RECORDS, name) == document then return 0 end
  local gaps_of_camera = GAPS_OF_CAMERA .. camera
  redis.call('HSET', GAP_RECORDS, name, document)
  redis.call('ZADD', GAPS, end_us, name)
  redis.call('ZADD', gaps_of_camera, end_us, name)
  local surplus = redis.call('ZCARD', gaps_of_camera) - max_per_camera
  if surplus > 0 then
    for _, old in ipairs(redis.call('ZRANGE', gaps_of_camera, 0, surplus - 1)) do
      redis.call('HDEL', GAP_RECORDS, old)
      redis.call('ZREM', GAPS, old)
      redis.call('ZREM', gaps_of_camera, old)
    end
  end
  tell(GAP_STORED, camera, '', name)
  return 1
end
