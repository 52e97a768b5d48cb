#!lua flags=allow-oom
-- Forgets the entries of a batch that was taken out of a queue, because another server has them.
-- reply: {forgotten}   how many entries; 0 if the batch is not there
local aside_key = KEYS[1] -- [list] <prefix>o:<queue>
local batch     = ARGV[1] -- [name] the batch's id

-- @include "lib/rights"

local denied = denied_command(string.match(aside_key, '^(.*)o:'), COMMANDS)
if denied then
    return redis.error_reply(no_right(denied))
end
local head = redis.call('LINDEX', aside_key, 0)
if not head or string.match(head, '^%S+') ~= batch then
    return {0}
end
-- The first element of the list is no entry.
local entries = redis.call('LLEN', aside_key) - 1
redis.call('UNLINK', aside_key)
return {entries}
