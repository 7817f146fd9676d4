"""What runs inside Redis: each script is atomic there. Keys and entries: `experts.store.redis`.

Every script gets the same six KEYS: documents, names, version, changes, gone, changed.
"""

from __future__ import annotations

_READ = """
local documents, names, counter, changes, gone, channel = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local function read(key)
  local entry = redis.call('HGET', documents, key)
  if not entry then return 0, '', false end
  local version, token, body = string.match(entry, '^(%d+) (%x+) ?(.*)$')
  return tonumber(version), token, body ~= ''
end
"""

_CHECK = (
    _READ
    + """
local key, expected, token = ARGV[1], ARGV[2], ARGV[3]
local version, by, lives = read(key)
if by == token then return {1, version} end
local found = lives and version or 0
if expected ~= '' and tonumber(expected) ~= found then return {0, found} end
"""
)

PUT = (
    _CHECK
    + """
local written = redis.call('INCR', counter)
redis.call('HSET', documents, key, string.format('%.0f %s %s', written, token, ARGV[4]))
redis.call('ZADD', names, 0, key)
redis.call('ZADD', changes, written, key)
redis.call('ZREM', gone, key)
redis.call('PUBLISH', channel, written)
return {1, written}
"""
)
"""ARGV: key, expected version or '', token, body -> {1, version}, or {0, version found} when it is another."""

REMOVE = (
    _CHECK
    + """
if found == 0 then return {1, 0} end
local written = redis.call('INCR', counter)
local now = tonumber(redis.call('TIME')[1])
redis.call('HSET', documents, key, string.format('%.0f %s', written, token))
redis.call('ZREM', names, key)
redis.call('ZADD', changes, written, key)
redis.call('ZADD', gone, now, key)
for _, old in ipairs(redis.call('ZRANGEBYSCORE', gone, '-inf', now - tonumber(ARGV[4]), 'LIMIT', 0, 100)) do
  redis.call('HDEL', documents, old)
  redis.call('ZREM', changes, old)
  redis.call('ZREM', gone, old)
end
redis.call('PUBLISH', channel, written)
return {1, written}
"""
)
"""ARGV: key, expected version or '', token, seconds tombstones are kept -> as PUT; version 0: there was none."""

FIND = (
    _READ
    + """
local from, to = '-', '+'
if ARGV[1] ~= '' then from, to = '[' .. ARGV[1], '(' .. ARGV[1] .. string.char(255) end
local found = {}
for _, key in ipairs(redis.call('ZRANGEBYLEX', names, from, to)) do
  found[#found + 1] = key
  found[#found + 1] = redis.call('HGET', documents, key)
end
return found
"""
)
"""ARGV: prefix -> key, entry, key, entry ... sorted by key."""

CHANGES = (
    _READ
    + """
local seen, last, prefix = tonumber(ARGV[1]), ARGV[2], ARGV[3]
if seen > tonumber(redis.call('GET', counter) or 0) then seen = 0 end
if last ~= '' and tonumber(redis.call('ZSCORE', changes, last) or 0) < seen then seen = 0 end
local found = {'', ''}
local after = string.format('(%.0f', seen)
local rows = redis.call('ZRANGEBYSCORE', changes, after, '+inf', 'WITHSCORES', 'LIMIT', 0, tonumber(ARGV[4]))
for i = 1, #rows, 2 do
  local key = rows[i]
  found[1], found[2] = key, string.format('%.0f', tonumber(rows[i + 1]))
  if string.sub(key, 1, #prefix) == prefix then
    found[#found + 1] = key
    found[#found + 1] = redis.call('HGET', documents, key)
  end
end
return found
"""
)
"""ARGV: version seen, its key or '', prefix, most -> last key and version looked at ('' for none), key, entry ...

A version or key that the server does not know (any more) means that it lost writes: it begins with the first.
"""
