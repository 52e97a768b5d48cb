-- @include "lib/entry"
-- @include "lib/controls"
-- @include "lib/no_right"
-- @include "lib/record"

-- The reader of an inbox takes a batch. The entries of a batch stay at the head of the inbox until they are acknowledged,
-- so a reader that asks again is given the same batch.
local MAX_BATCH_ENTRIES = 200
local MAX_BATCH_BYTES = 131072
-- How many entries are read at once: large ones may follow small ones.
local BATCH_STEP = 16

-- Returns whether a reader is given an entry. A control entry is given also after the end of its membership, because the
-- reader may know of a longer one from before. An empty entry is not given, because it could not be acknowledged.
local function is_due(entry, now)
    return is_control(entry) or #entry > 0 and entry_deadline(entry) > now
end

-- Looks for live entries at the head of an inbox. Returns an error or nil; the live entries, how many entries they span,
-- and how many of these are control entries; then how many entries were seen, and how many control entries among them.
local function look_at_head(inbox_queue_key, now)
    local entries, due, length, controls = {}, 0, 0, 0
    local seen, seen_controls, bytes, step = 0, 0, 0, 1
    while seen < MAX_BATCH_ENTRIES and bytes < MAX_BATCH_BYTES do
        local found = redis.pcall('LRANGE', inbox_queue_key, seen, seen + step - 1)
        if found.err then
            return refusal_of('LRANGE', found.err, inbox_queue_key)
        end
        for _, entry in ipairs(found) do
            if due > 0 and bytes + #entry > MAX_BATCH_BYTES then
                return nil, entries, length, controls, seen, seen_controls
            end
            seen = seen + 1
            bytes = bytes + #entry
            -- The same as is_due, in one step: it is most of what a batch costs.
            local deadline, kind = entry_deadline_and_kind(entry)
            local control = CONTROLS[kind]
            if control then
                seen_controls = seen_controls + 1
            end
            if control or #entry > 0 and deadline > now then
                due = due + 1
                entries[due] = entry
                length, controls = seen, seen_controls
            end
            if bytes >= MAX_BATCH_BYTES then
                break
            end
        end
        if #found < step then
            break
        end
        -- Next as many as fit, if they are as large as those that were seen.
        local fitting = math.floor((MAX_BATCH_BYTES - bytes) * seen / bytes)
        step = math.min(BATCH_STEP, MAX_BATCH_ENTRIES - seen, math.max(1, fitting))
    end
    return nil, entries, length, controls, seen, seen_controls
end

-- Removes the first `length` entries of an inbox, of which `controls` are control entries.
local function trim_inbox(prefix, inbox, length, controls)
    redis.call('LTRIM', prefix .. 'q:' .. inbox, length, '-1')
    forget_controls(prefix, inbox, controls)
end

-- So many times expired entries are cut off in one call, as many as a batch may have each time.
local MAX_CUTS = 5
local cuts = 0

-- Looks for the next batch of an inbox. Returns an error if the key belongs to another program, else nil; then the
-- batch's entries, how many entries of the inbox it spans, and how many of these are control entries. Returns nothing if
-- the inbox is empty, and false if only expired entries were met, and more may stand behind them.
local function next_batch(prefix, inbox, now)
    while cuts < MAX_CUTS do
        local error, entries, length, controls, seen, seen_controls = look_at_head(prefix .. 'q:' .. inbox, now)
        if error then
            return error
        elseif #entries > 0 then
            return nil, entries, length, controls
        elseif seen == 0 then
            return nil
        end
        trim_inbox(prefix, inbox, seen, seen_controls)
        cuts = cuts + 1
    end
    return false
end

-- Returns whether an entry was pushed after the one with an id.
local function is_after(entry, id)
    local pushed, place = struct.unpack(ID_FORMAT, entry)
    local last_pushed, last_place = struct.unpack(ID_FORMAT, id)
    return pushed > last_pushed or pushed == last_pushed and place > last_place
end

-- Counts the entries up to the one with an id. Returns how many they are, and how many of them are control entries. The
-- one with the id may have expired and left the inbox: then the entries that were pushed before it count.
local function count_to(entries, id)
    local controls = 0
    for place, entry in ipairs(entries) do
        if is_control(entry) then
            controls = controls + 1
        end
        if entry_id(entry) == id then
            return place, controls
        end
    end
    local length = 0
    controls = 0
    for place, entry in ipairs(entries) do
        if #id < ID_BYTES or #entry < ID_BYTES or is_after(entry, id) then
            break
        end
        length = place
        if is_control(entry) then
            controls = controls + 1
        end
    end
    return length, controls
end

-- Returns the entries that are left of the batch of a record, or nil if none is.
local function same_batch(prefix, record, now)
    local inbox, length, _, last = was_batch(record)
    if not inbox then
        return nil
    end
    -- Expired entries may have left the inbox, so the batch's last entry may stand before its first place.
    local found = redis.pcall('LRANGE', prefix .. 'q:' .. inbox, 0, length - 1)
    local entries = {}
    for place = 1, (count_to(found, last)) do
        if is_due(found[place], now) then
            entries[#entries + 1] = found[place]
        end
    end
    return #entries > 0 and entries or nil
end

-- Removes the entries of a batch up to the one with an id, which its reader has delivered. An entry that was pushed after
-- the batch was never given to the reader, so such an id removes nothing.
local function acknowledge_batch(prefix, record, id)
    local inbox, length, controls, last = was_batch(record)
    local inbox_queue_key = prefix .. 'q:' .. inbox
    if id == last then
        local entry = redis.pcall('LINDEX', inbox_queue_key, length - 1)
        if type(entry) == 'string' and entry_id(entry) == last then
            return trim_inbox(prefix, inbox, length, controls)
        end
    end
    if #id >= ID_BYTES and #last >= ID_BYTES and is_after(id, last) then
        return
    end
    length, controls = count_to(redis.pcall('LRANGE', inbox_queue_key, 0, length - 1), id)
    if length > 0 then
        trim_inbox(prefix, inbox, length, controls)
    end
end
