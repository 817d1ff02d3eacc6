-- Decides on one request of a key. KEYS: the last turn, the token budget, the requests
-- that run. Times are microseconds of the store's clock.
local interval, line, patience = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local per_minute, prompt, completion, least = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local most, member, lease = tonumber(ARGV[8]), ARGV[9], tonumber(ARGV[10])
local minute = 60000000

local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local reason, retry = 0, 0
local function refuse(why, after)
  if reason == 0 then reason = why end
  retry = math.max(retry, after)
end

if most > 0 then
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
  if redis.call('ZCARD', KEYS[3]) >= most then refuse(1, 1000000) end
end

local turn = now
if interval > 0 then
  local last = tonumber(redis.call('GET', KEYS[1]) or '0')
  if now - last <= interval then turn = last + interval end
  local longest = line
  if patience > 0 then longest = math.min(line, patience) end
  if turn - now > longest then refuse(2, turn - now - longest) end
end

local level = per_minute
local budgeted = per_minute > 0 and prompt + completion > 0
if per_minute > 0 then
  local b = redis.call('HMGET', KEYS[2], 'level', 'since')
  if b[1] then level = math.min(per_minute, tonumber(b[1]) + (now - tonumber(b[2])) * per_minute / minute) end
  if budgeted and least > per_minute then return {4, 0, 0, -1, math.max(0, turn - now), level, 0} end
  if budgeted and level < least then refuse(3, (least - level) * minute / per_minute) end
end

local wait, allowance, reserved = 0, -1, 0
if reason == 0 then
  if most > 0 then
    redis.call('ZADD', KEYS[3], now + lease, member)
    redis.call('PEXPIRE', KEYS[3], math.ceil(lease / 1000))
  end
  if interval > 0 then
    wait = turn - now
    redis.call('SET', KEYS[1], string.format('%.3f', turn), 'PX', math.ceil((wait + interval) / 1000) + 1000)
    turn = turn + interval
  end
  if budgeted then
    reserved = math.min(prompt + completion, math.floor(level))
    level = level - reserved
    allowance = reserved - prompt
    redis.call('HSET', KEYS[2], 'level', string.format('%.6f', level), 'since', now)
    redis.call('PEXPIRE', KEYS[2], 180000)
  end
end
return {reason, math.ceil(retry), wait, allowance, math.max(0, turn - now), math.floor(level), reserved}
