-- `level` and `mark` may be empty. Returns the id of the record; empty: the frame is not there.
local function record_review(id, kind, reviewer, level, mark, comment)
  if redis.call('EXISTS', FRAME .. id) == 0 then return '' end
  local fields = {'frame_id', id, 'kind', kind, 'reviewer', reviewer, 'level', level,
                  'mark', mark, 'comment', comment}
  local entry = redis.call('XADD', REVIEWS, 'MAXLEN', '~', REVIEWS_LENGTH, '*', unpack(fields))
  redis.call('XADD', REVIEWS_OF .. id, 'MAXLEN', '~', REVIEWS_OF_FRAME_LENGTH, entry,
             unpack(fields))
  if mark ~= '' then redis.call('HSET', FRAME .. id, 'mark', mark) end
  if comment ~= '' then redis.call('HINCRBY', FRAME .. id, 'comments_count', 1) end
  if kind == 'note' then tell(REVIEW_RECORDED, camera_of(id), id, entry) end
  return entry
end
