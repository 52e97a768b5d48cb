#!lua flags=allow-oom
-- Lists the members of a group, in steps of some 1,000. A channel that is a member during all steps is listed at least
-- once, perhaps twice.
-- reply: {queue, cursor, channel, ...}   where the next step begins, "" and "0" after the last one; and channels
local group_key = KEYS[1] -- [zset]                   <prefix>g:<group>
local prefix    = ARGV[1] -- [prefix]                 of every key
local group     = ARGV[2] -- [name]                   the group's name
local queue     = ARGV[3] -- [text]                   empty at first, then what the step before returned
local cursor    = ARGV[4] -- [int 0..999999999999999] "0" at first, then what the step before returned
-- @include "lib/clock"
-- @include "lib/list_members"

local _, now = clock()
local reply = {'', ''}
reply[1], reply[2] = list_members(prefix, group, queue, cursor, now, function(name, addresses)
    for _, address in ipairs(addresses) do
        reply[#reply + 1] = name .. address
    end
end)
return reply
