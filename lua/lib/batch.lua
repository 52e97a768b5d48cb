-- @include "lib/entry"
-- @include "lib/controls"
-- @include "lib/record"

-- The reader of an inbox takes a batch. Its entries stay at the head of the inbox until they are acknowledged, so a
-- batch that is asked for again is the same again.
local BATCH_ENTRIES = 200
local BATCH_BYTES = 1048576
-- How many are read at once: small ones may be followed by large ones.
local BATCH_STEP = 16

-- Whether a reader is given an entry. Control entries are also when the membership has ended of which they tell, for
-- that may have been a longer one before. What is empty could not be acknowledged.
local function is_due(entry, now)
    return is_control(entry) or #entry > 0 and entry_deadline(entry) > now
end

-- The live entries among the first of an inbox. Returns them, how many entries they span and how many of these are
-- control entries; then how many it saw and how many of those are. Or nil, and an error.
local function look_at_head(key, most, now)
    local entries, due, length, controls = {}, 0, 0, 0
    local seen, seen_controls, bytes, step = 0, 0, 0, 1
    while seen < most and bytes < BATCH_BYTES do
        local found = redis.pcall('LRANGE', key, seen, seen + step - 1)
        if found.err then
            return nil, found.err
        end
        for _, entry in ipairs(found) do
            seen = seen + 1
            bytes = bytes + #entry
            -- As is_due, in one step, for this is most of what a batch costs.
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
            if bytes >= BATCH_BYTES then
                break
            end
        end
        if #found < step then
            break
        end
        -- As many as fit if the next are as large as these.
        step = math.min(BATCH_STEP, most - seen, math.max(1, math.floor((BATCH_BYTES - bytes) * seen / bytes)))
    end
    return entries, length, controls, seen, seen_controls
end

local function trim_inbox(prefix, inbox, length, controls)
    redis.call('LTRIM', prefix .. 'q:' .. inbox, length, '-1')
    forget_controls(prefix, inbox, controls)
end

-- The next batch of an inbox: its entries, its length and its control entries; nil when the inbox is empty, nil and an
-- error when its key is not ours.
local function next_batch(prefix, inbox, now)
    while true do
        local entries, length, controls, seen, seen_controls = look_at_head(prefix .. 'q:' .. inbox, BATCH_ENTRIES, now)
        if not entries then
            return nil, length
        elseif #entries > 0 then
            return entries, length, controls
        elseif seen == 0 then
            return nil
        end
        trim_inbox(prefix, inbox, seen, seen_controls)
    end
end

local function is_after(entry, id)
    local pushed, place = struct.unpack('>I8I2', entry)
    local last_pushed, last_place = struct.unpack('>I8I2', id)
    return pushed > last_pushed or pushed == last_pushed and place > last_place
end

-- How many of some entries go up to the one with an id, and how many of them are control entries. That one may have
-- expired and left the inbox meanwhile: then all go that were pushed before it.
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
        if #id < 10 or #entry < 10 or is_after(entry, id) then
            break
        end
        length = place
        if is_control(entry) then
            controls = controls + 1
        end
    end
    return length, controls
end

-- What is left of the batch of a record; nil when nothing is.
local function same_batch(prefix, record, now)
    local inbox, length, _, last = was_batch(record)
    if not inbox then
        return nil
    end
    -- Expired entries may have left the inbox meanwhile, so the last one may stand before its place.
    local found = redis.pcall('LRANGE', prefix .. 'q:' .. inbox, 0, length - 1)
    local entries = {}
    for place = 1, (count_to(found, last)) do
        if is_due(found[place], now) then
            entries[#entries + 1] = found[place]
        end
    end
    return #entries > 0 and entries or nil
end

-- The reader has the entries of its batch up to the one with this id. What was pushed behind the batch it cannot have.
local function acknowledge_batch(prefix, record, id)
    local inbox, length, controls, last = was_batch(record)
    local key = prefix .. 'q:' .. inbox
    if id == last then
        local entry = redis.pcall('LINDEX', key, length - 1)
        if type(entry) == 'string' and entry_id(entry) == last then
            return trim_inbox(prefix, inbox, length, controls)
        end
    end
    if #id >= 10 and #last >= 10 and is_after(id, last) then
        return
    end
    length, controls = count_to(redis.pcall('LRANGE', key, 0, length - 1), id)
    if length > 0 then
        trim_inbox(prefix, inbox, length, controls)
    end
end
