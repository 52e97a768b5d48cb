#!lua flags=allow-oom
-- Begins or renews an inbox: its members of groups count until the lease ends. Reports which of its mailboxes take no
-- more messages, and which do again.
-- reply: {"ok", now}   the server's time in µs; the inbox was known
-- reply: {"new", now}   the server did not know the inbox, or no longer: it has no members, unless they were added
--   before, and no mailbox counts as full but those of this call
-- reply: {"taken"}   nothing was done: another client owns the inbox
local inbox_key             = KEYS[1]           -- [hash]    <prefix>i:<inbox>
local prefix                = ARGV[1]           -- [text]    of every key
local inbox                 = ARGV[2]           -- [text]    its name, which ends in "!"
local owner                 = ARGV[3]           -- [text]    the client that reads it
local lease                 = tonumber(ARGV[4]) -- [int]     ms, for which its members count without a further call
local full                  = tonumber(ARGV[5]) -- [int]     how many of the addresses are of full mailboxes
local addresses, first_address = ARGV, 6        -- [text...] addresses of mailboxes that are full; then of those that have room again
-- @include "lib/clock"
-- @include "lib/lease"
-- @include "lib/limits"

local too_large = refuse_too_large(1, #addresses)
if too_large then
    return too_large
end

local microseconds, now = clock()
local known = redis.call('HGET', inbox_key, 'owner')
if known and known ~= owner then
    return {'taken'}
end
redis.call('HSET', inbox_key, 'owner', owner, 'lease', string.format('%.0f', now + lease))
redis.call('PEXPIRE', inbox_key, lease + MEMORY)

local marks = prefix .. 'f:' .. inbox
if not known then
    redis.call('UNLINK', marks)
end
local first_roomy = first_address + full
if full > 0 then
    redis.call('SADD', marks, unpack(addresses, first_address, first_roomy - 1))
end
if first_roomy <= #addresses then
    redis.call('SREM', marks, unpack(addresses, first_roomy))
end
redis.call('PEXPIRE', marks, lease + MEMORY)
return {known and 'ok' or 'new', microseconds}
