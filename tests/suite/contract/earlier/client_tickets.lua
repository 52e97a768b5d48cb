#!lua flags=allow-oom
-- Lists the tickets of a client that the server has a record of, in steps of some 500: after its hello the client finishes those that
-- it does not know, which an older state of the server has brought back. What is recorded all the while is listed, perhaps twice.
-- reply: {"ok", cursor, ticket, ...}   the next step's cursor, "0" after the last one; and tickets
-- reply: {"stale"}   the generation is not the client's, or no longer
local client_key = KEYS[1] -- [hash]                   <prefix>c:<client>
local generation = ARGV[1] -- [int 0..999999999999]    of the client's connection
local cursor     = ARGV[2] -- [int 0..999999999999999] "0" at first, then what the step before returned
-- Checks, made by the build of the types above
local find, at, given, due = string.find, nil, nil, nil
if #KEYS ~= 1 then
    at, given, due = 'KEYS', '' .. #KEYS, 'the number of its keys, which is 1'
elseif #ARGV ~= 2 then
    at, given, due = 'ARGV', '' .. #ARGV, 'the number of its arguments, which is 2'
elseif generation ~= '0' and generation ~= '1' and (#generation > 12 or not find(generation, '^[1-9]%d*$')) then
    at, given, due = 'ARGV[1] generation', generation, 'a whole number from 0 to 999999999999'
elseif cursor ~= '0' and cursor ~= '1' and (#cursor > 15 or not find(cursor, '^[1-9]%d*$')) then
    at, given, due = 'ARGV[2] cursor', cursor, 'a whole number from 0 to 999999999999999'
elseif not find(client_key, '.c:[^%s:]+$') then
    at, given, due = 'KEYS[1] client_key', client_key, 'the key <prefix>c:<client>'
end
if due then
    given = string.gsub(given, '[^ !#-~]', '?')
    given = #given > 60 and string.sub(given, 1, 60) .. '...' or given
    return redis.error_reply('ERR client_tickets: ' .. at .. ': "' .. given .. '" is not ' .. due)
end
-- Checked

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
