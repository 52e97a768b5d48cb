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
-- The server's clock, in microseconds and in whole milliseconds. No client's clock is ever used.
local function clock()
    local time = redis.call('TIME')
    local microseconds = time[1] * 1000000 + time[2]
    return microseconds, math.floor(microseconds / 1000)
end
-- @include "lib/lease"
-- A client is remembered for an hour past its lease, or a late command of an old connection would be taken for a
-- new one; and for as long as it was handed a message. So the time is only ever extended.
local MEMORY = 3600000

-- A waiting line lives for an hour too after a ticket came into it. Every lease is shorter, so whoever still waits
-- comes again before the line ends.
local function bounded_lease(lease)
    return math.min(lease, MEMORY)
end

local function keep_client(client, lease, new)
    if new then
        redis.call('PEXPIRE', client, lease + MEMORY)
    else
        redis.call('PEXPIRE', client, lease + MEMORY, 'GT')
    end
end

local function keep_handed(client, deadline, now)
    if deadline - now > MEMORY then
        redis.call('PEXPIRE', client, deadline - now, 'GT')
    end
end
-- @include "lib/limits"
-- Lua can pass on some 8,000 values in one go; a larger call would fail halfway through its work.
local MOST_VALUES = 3500

local function refuse_too_large(keys, arguments)
    if keys > 2 * MOST_VALUES or arguments > MOST_VALUES then
        return redis.error_reply('ERR a call has at most ' .. 2 * MOST_VALUES .. ' keys and ' .. MOST_VALUES ..
            ' arguments, this one has ' .. keys .. ' and ' .. arguments .. ': make several')
    end
end

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
