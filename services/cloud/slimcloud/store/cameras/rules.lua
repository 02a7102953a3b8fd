-- `replaces` may be empty. Returns the version, or minus the version and one where it is another.
local function put_rules(camera, rules, replaces)
  local was = redis.call('HMGET', RULES .. camera, 'rules', 'version')
  local version = tonumber(was[2] or 0)
  if replaces ~= '' and tonumber(replaces) ~= version then return -version - 1 end
  if was[1] == rules then return version end
  redis.call('HSET', RULES .. camera, 'rules', rules, 'version', version + 1)
  tell(RULES_CHANGED, camera, '', version + 1)
  return version + 1
end
