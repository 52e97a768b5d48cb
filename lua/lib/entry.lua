-- @include "lib/layout"

-- The microsecond and the place of an id, for struct.unpack.
local ID_FORMAT = '>I8I2'

local function entry_time(number)
    return struct.pack('>I8', number)
end

local function entry_place(number)
    return struct.pack('>I2', number)
end

local function entry_id(entry)
    return string.sub(entry, 1, ID_BYTES)
end

local function entry_deadline(entry)
    if #entry < HEADER_BYTES then
        return FAR_FUTURE
    end
    return math.min(struct.unpack('>I8', entry, DEADLINE_AT), FAR_FUTURE)
end

-- Returns the deadline and the byte of the kind in one step.
local unpack_entry = struct.unpack
local function entry_deadline_and_kind(entry)
    if #entry < KIND_AT then
        return FAR_FUTURE
    end
    return unpack_entry('>I8B', entry, DEADLINE_AT)
end
