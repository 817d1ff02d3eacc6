-- Ends a request: gives back what it reserved and did not use, and its place.
-- KEYS: the token budget, the requests that run.
local per_minute, reserved, used, member = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
redis.call('ZREM', KEYS[2], member)
if reserved < 0 then return 0 end
local b = redis.call('HMGET', KEYS[1], 'level', 'since')
if not b[1] then return 0 end -- it is full again
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local level = math.min(per_minute, tonumber(b[1]) + (now - tonumber(b[2])) * per_minute / 60000000)
level = math.max(-per_minute, math.min(per_minute, level + reserved - used))
redis.call('HSET', KEYS[1], 'level', string.format('%.6f', level), 'since', now)
redis.call('PEXPIRE', KEYS[1], 180000)
return 1
