#!lua flags=allow-oom
-- Forgets the entries of a batch that was taken out of a queue: another server has them.
-- reply: {forgotten}   how many entries; 0 if the batch is not there
local aside = KEYS[1] -- [list]  <prefix>o:<queue>
local batch = ARGV[1] -- [text]  the batch's id

local head = redis.call('LINDEX', aside, 0)
if not head or string.match(head, '^%S+') ~= batch then
    return {0}
end
local entries = redis.call('LLEN', aside) - 1
redis.call('UNLINK', aside)
return {entries}
