#!lua flags=allow-oom
-- Lists the tickets of a client that the server has a record of, in steps of some 500: after its hello the client finishes those that
-- it does not know, which an older state of the server has brought back. What is recorded all the while is listed, perhaps twice.
-- reply: {"ok", cursor, ticket, ...}   the next step's cursor, "0" after the last one; and tickets
-- reply: {"stale"}   the generation is not the client's, or no longer
local client_key = KEYS[1] -- [hash]                   <prefix>c:<client>
local generation = ARGV[1] -- [int 0..999999999999]    of the client's connection
local cursor     = ARGV[2] -- [int 0..999999999999999] "0" at first, then what the step before returned

local STEP = '500'

if redis.call('HGET', client_key, 'g') ~= generation then
    return {'stale'}
end
local step = redis.call('HSCAN', client_key, cursor, 'COUNT', STEP)
local reply = {'ok', step[1]}
for field = 1, #step[2], 2 do
    -- The others are the generation and the lease.
    if string.match(step[2][field], '^%d+$') then
        reply[#reply + 1] = step[2][field]
    end
end
return reply
