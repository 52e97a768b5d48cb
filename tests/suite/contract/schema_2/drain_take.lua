#!lua flags=allow-oom
-- Takes the first entries out of a queue, for another server: they are kept aside until that server has them. As long as
-- they are, it says the same again.
-- reply: {batch, target, left, entry, left, entry, ...}   the batch's id and where it goes, which are those of the call
--   unless an earlier one was not finished; then entries, each with the ms that it has left
-- reply: {}   the queue is empty
local queue  = KEYS[1] -- [list]  <prefix>q:<queue>
local aside  = KEYS[2] -- [list]  <prefix>o:<queue>: "<batch> <target>", then the entries
local prefix = ARGV[1] -- [text]  of every key
local batch  = ARGV[2] -- [text]  an id for a new batch, never used before
local target = ARGV[3] -- [text]  where a new batch goes, without spaces
-- @include "lib/clock"
-- The server's clock, in microseconds and in whole milliseconds. No client's clock is ever used.
local function clock()
    local time = redis.call('TIME')
    local microseconds = time[1] * 1000000 + time[2]
    return microseconds, math.floor(microseconds / 1000)
end
-- @include "lib/entry"
-- An entry is an 18-byte header, written here, and a body that no script parses:
--   bytes 1 to 8    the microsecond in which it was pushed  } together the entry's id: in order of
--   bytes 9 and 10  its place in that call                  } pushing, and never given twice
--   bytes 11 to 18  its deadline in milliseconds
-- All three are big-endian, so entries sort by their bytes as they sort by id.
local function entry_time(number)
    return struct.pack('>I8', number)
end

local function entry_place(number)
    return struct.pack('>I2', number)
end

local function entry_id(entry)
    return string.sub(entry, 1, 10)
end

-- Whatever stands in a queue must not stop its reader: what has no header is handed on, for the reader to refuse.
local FAR_FUTURE = 4102444800000

local function entry_deadline(entry)
    if #entry < 18 then
        return FAR_FUTURE
    end
    return math.min(struct.unpack('>I8', entry, 11), FAR_FUTURE)
end

-- The same and the number of its kind, in one step.
local unpack_entry = struct.unpack
local function entry_deadline_and_kind(entry)
    if #entry < 19 then
        return FAR_FUTURE
    end
    return unpack_entry('>I8B', entry, 11)
end
-- @include "lib/take"
-- @include "lib/entry"

-- Takes the next live entry of some queues: first one that was given back, else the head of the first queue that
-- has one. Says the queue's name and the entry; nil when all are empty; '' and the error when a key is not ours.
-- Expired entries that it meets are dropped.
local function take(prefix, names, now)
    local start = #prefix + 3
    local lists, given_back = {#names}, {#names}
    for i, name in ipairs(names) do
        lists[i + 1] = prefix .. 'q:' .. name
        given_back[i + 1] = prefix .. 'b:' .. name
    end
    lists[#names + 2] = 'LEFT'
    given_back[#names + 2] = 'MIN'
    while true do
        local found = redis.pcall('ZMPOP', unpack(given_back))
        local entry
        if not found then
            found = redis.pcall('LMPOP', unpack(lists))
            entry = found and found[2] and found[2][1]
        else
            entry = found[2] and found[2][1][1]
        end
        if not found then
            return nil
        elseif found.err then
            return '', found.err
        end
        if entry_deadline(entry) > now then
            return string.sub(found[1], start), entry
        end
    end
end

local MOST_ENTRIES = 200
local MOST_BYTES = 1048576

local _, now = clock()
local entries = redis.call('LRANGE', aside, 0, -1)
if #entries == 0 then
    local name = string.sub(queue, #prefix + 3)
    local bytes, latest = 0, now
    entries[1] = batch .. ' ' .. target
    while #entries <= MOST_ENTRIES and bytes < MOST_BYTES do
        local from, entry = take(prefix, {name}, now)
        if from == '' then
            return redis.error_reply(entry)
        elseif not entry then
            break
        end
        entries[#entries + 1] = entry
        bytes = bytes + #entry
        latest = math.max(latest, entry_deadline(entry))
    end
    if #entries == 1 then
        return {}
    end
    redis.call('RPUSH', aside, unpack(entries))
    redis.call('PEXPIRE', aside, latest - now)
end

local reply = {string.match(entries[1], '^(%S+) (%S+)$')}
for i = 2, #entries do
    reply[#reply + 1] = entry_deadline(entries[i]) - now
    reply[#reply + 1] = entries[i]
end
return reply
