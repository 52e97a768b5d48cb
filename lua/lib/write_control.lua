-- @include "lib/controls"
-- @include "lib/entry"
-- @include "lib/hand_over"
-- @include "lib/lease"
-- @include "lib/no_right"

-- What is known of an inbox, as HMGET returns it: see `inbox_state`.
local OWNER, LEASE, N, BY, WAITING, BYTES, IS_QUIET, READS_LABELS, HAS_LABELS = 1, 2, 3, 4, 5, 6, 7, 8, 9

-- Returns the fields of an inbox, or nil and an error if its key is another program's.
local function inbox_state(inbox_key)
    local state = redis.pcall('HMGET', inbox_key, 'owner', 'lease', 'n', 'by', 'controls', 'control_bytes', 'quiet',
        'reads_labels', 'has_labels')
    if state.err then
        return nil, said_of(state.err, inbox_key)
    end
    return state
end

-- Puts a control entry into an inbox, which keeps its list alive as long as the inbox. `fields` are further fields of the
-- inbox that change with it; whoever makes the inbox so keeps it for an hour. Returns an error if the key is another
-- program's, or if the entry could not be handed to its reader, who waits: the inbox is empty then, as it was.
local function write_control(prefix, inbox, state, body, microseconds, now, fields)
    local inbox_key, queue_key = prefix .. 'i:' .. inbox, prefix .. 'q:' .. inbox
    local entry = entry_time(microseconds) .. entry_place(1) .. entry_time(FAR_FUTURE) .. body
    local length = redis.pcall('RPUSH', queue_key, entry)
    if type(length) == 'table' then
        return said_of(length.err, queue_key)
    end
    local waiting, bytes = 1, #entry
    if length > 1 then
        waiting = (tonumber(state[WAITING] or nil) or 0) + 1
        bytes = (tonumber(state[BYTES] or nil) or 0) + #entry
    end
    redis.call('HSET', inbox_key, 'controls', waiting, 'control_bytes', bytes, unpack(fields))
    local left = math.max(0, (tonumber(state[LEASE] or nil) or 0) - now) + MEMORY
    if not state[OWNER] then
        redis.call('PEXPIRE', inbox_key, left)
    end
    if length > 1 then
        redis.call('PEXPIRE', queue_key, left, 'GT')
        return nil
    end
    redis.call('PEXPIRE', queue_key, left)
    local _, why = hand_over(prefix, inbox, entry, now)
    if why then
        redis.call('UNLINK', queue_key)
    end
    return why
end
