#!lua flags=allow-oom
-- Begins or renews an inbox: its members of groups count until the lease ends. Reports which of its mailboxes take no
-- more messages, and which do again. If the server's last change of the inbox is another than the owner's, or the owner is
-- not sure, that stands in the inbox too, at this point among the changes.
-- reply: {"ok", now, groups, marks}   the server's time in µs; in how many groups the inbox has members, and how many of its
--   mailboxes count as full
-- reply: {"taken"}   nothing was done: another client owns the inbox
-- reply: {"stale"}   nothing was done: the server has forgotten the client, or the call came over a connection that the
--   client has since replaced
local inbox_key             = KEYS[1]     -- [hash]                            <prefix>i:<inbox>
local memberships_key       = KEYS[2]     -- [zset]                            <prefix>s:<inbox>
local marks_key             = KEYS[3]     -- [set]                             <prefix>f:<inbox>
local prefix                = ARGV[1]     -- [prefix]                          of every key
local inbox                 = ARGV[2]     -- [name]                            its name, which ends in "!"
local owner                 = ARGV[3]     -- [name]                            the client that reads it
local generation            = ARGV[4]     -- [int 0..999999999999 or empty]    of the client's connection; else empty
local lease                 = ARGV[5]     -- [int 0..3600000 ms]               ms, for which its members count without a further call
local bytes                 = ARGV[6]     -- [int 1048576..2147483648]         bytes that it may have before a message of over 4 KiB is refused
local call                  = ARGV[7]     -- [int 0..999999999999999]          higher with each change, page and sign of life of this client
local last_n                = ARGV[8]     -- [int 0..999999999999999 or empty] the number of the last change that the owner has read, 0 if none; empty if it is not sure
local last_tag              = ARGV[9]     -- [token]                           who made it, as it stands in the entry; a colon if none
local marks                 = ARGV[10]    -- [word some, all]                  "some": marks of full mailboxes from before stay; "all": they are forgotten
local full                  = ARGV[11]    -- [int 0..3490]                     how many of the addresses are of full mailboxes
local addresses, first_address = ARGV, 12 -- [0..3490 name or empty...]          addresses of mailboxes that are full; then of those that have room again
-- @include "lib/clock"
-- @include "lib/fence"
-- @include "lib/refuse"
-- @include "lib/write_control"
-- @include "lib/rights"

local denied = generation == '' and denied_command(prefix, COMMANDS)
if denied then
    return redis.error_reply(no_right(denied))
end

if not is_inbox(inbox) then
    return refuse('inbox_keep', 'ARGV[2] inbox', inbox, 'a name that ends in "!"')
elseif tonumber(full) > #addresses - first_address + 1 then
    return refuse('inbox_keep', 'ARGV[11] full', full, 'one of the addresses, which are ' .. #addresses - first_address + 1)
end
lease, full = tonumber(lease), tonumber(full)

if generation ~= '' and is_stale(prefix, owner, generation) then
    return {'stale'}
end
local microseconds, now = clock()
local state, why = inbox_state(inbox_key)
if not state then
    return redis.error_reply(why)
elseif state[OWNER] and state[OWNER] ~= owner then
    return {'taken'}
end
local known = state[OWNER]
state[OWNER], state[LEASE] = owner, string.format('%.0f', now + lease)
redis.call('HSET', inbox_key, 'owner', owner, 'lease', state[LEASE], 'bytes', bytes, 'reads_labels', 1)
redis.call('PEXPIRE', inbox_key, lease + MEMORY)

if not known or marks == 'all' then
    redis.call('UNLINK', marks_key)
end
local first_roomy = first_address + full
if full > 0 then
    redis.call('SADD', marks_key, unpack(addresses, first_address, first_roomy - 1))
end
if first_roomy <= #addresses then
    redis.call('SREM', marks_key, unpack(addresses, first_roomy))
end
redis.call('PEXPIRE', marks_key, lease + MEMORY)

local n, tag = state[N] or '0', state[BY] or ':'
if n ~= last_n or tag ~= last_tag then
    why = write_control(prefix, inbox, state, 'k' .. n .. ' ' .. tag .. ' ' .. call, microseconds, now, {})
    if why then
        return redis.error_reply(why)
    end
end
return {'ok', microseconds, redis.call('ZCARD', memberships_key), redis.call('SCARD', marks_key)}
