#!lua flags=allow-oom
-- Writes some of the memberships of an inbox into the inbox, at this point among the changes, for its owner to compare. The
-- entry is `w<n> <tag> <call>`, then `>` and where the page begins, `<` and where it ends, and of each group in between,
-- in order of their names, `:<group> <1 if its row and index are there, else 0>` and its members, `<address> <end>` each,
-- in order of end and address, and `=<label>` of one that has a label. A place is three parts: a group, an end and an address, behind which it is; empty at the
-- beginning and at the end of all.
-- reply: {"ok", now}   the server's time in µs
-- reply: {"taken"}   nothing was done: this client does not own the inbox, or no longer
local inbox_key       = KEYS[1] -- [hash]                            <prefix>i:<inbox>
local memberships_key = KEYS[2] -- [zset]                            <prefix>s:<inbox>
local queue_key       = KEYS[3] -- [list]                            <prefix>q:<inbox>
local prefix          = ARGV[1] -- [prefix]                          of every key
local inbox           = ARGV[2] -- [name]                            its name
local owner           = ARGV[3] -- [name]                            the client that reads it
local call            = ARGV[4] -- [int 0..999999999999999]          higher with each change, page and sign of life of this client
local from_group      = ARGV[5] -- [name or empty]                   where the page begins: a group; empty at the beginning
local from_end        = ARGV[6] -- [int 0..999999999999999 or empty] an end in that group, behind which it begins; empty: behind the whole group
local from_address    = ARGV[7] -- [name or empty]                   and an address with that end
-- @include "lib/clock"
-- @include "lib/labels"
-- @include "lib/page"
-- @include "lib/refuse"
-- @include "lib/write_control"
-- @include "lib/rights"

local denied = denied_command(prefix, COMMANDS)
if denied then
    return redis.error_reply(no_right(denied))
end

-- So many groups and members at most.
local ENOUGH = 500

if not is_inbox(inbox) then
    return refuse('inbox_page', 'ARGV[2] inbox', inbox, 'a name that ends in "!"')
elseif from_end ~= '' and from_group == '' then
    return refuse('inbox_page', 'ARGV[6] from_end', from_end, 'a place: an end is of a member of a group, and none is named')
end

local microseconds, now = clock()
local state, why = inbox_state(inbox_key)
if not state then
    return redis.error_reply(why)
elseif state[OWNER] ~= owner then
    return {'taken'}
end

local parts, listed = {}, 0

-- Lists the members of a group from a rank on. Returns the end and the address of the last one if more follow.
local function list_members(group, rank)
    local key = members_key(prefix, group, inbox)
    local room = ENOUGH - listed
    local found = redis.pcall('ZRANGE', key, rank, rank + room, 'WITHSCORES')
    if found.err then
        return nil
    end
    local last = math.min(#found / 2, room)
    local addresses, ends = {}, {}
    for member = 1, last do
        addresses[member], ends[member] = found[2 * member - 1], found[2 * member]
    end
    local labels = state[HAS_LABELS] and labels_of(prefix, group, inbox, addresses, ends) or {}
    for member = 1, last do
        parts[#parts + 1] = addresses[member] .. ' ' .. ends[member] .. (labels[member] and ' =' .. labels[member] or '')
    end
    listed = listed + last
    if #found / 2 > room then
        return found[2 * last], found[2 * last - 1]
    end
end

-- Where the members begin that come after an end and an address. If that one has left, those with the same end are listed
-- again. Returns their rank, and the address after which the page begins.
local function rank_after(group)
    local key = members_key(prefix, group, inbox)
    local score = redis.pcall('ZSCORE', key, from_address)
    if score == from_end then
        return redis.call('ZRANK', key, from_address) + 1, from_address
    end
    local before = redis.pcall('ZCOUNT', key, '-inf', '(' .. from_end)
    return type(before) == 'number' and before or 0, ''
end

local function list_group(group, rank)
    local is_whole = redis.pcall('HEXISTS', rows_key(prefix, group), inbox) == 1
        and type(redis.pcall('ZSCORE', index_key(prefix, group), inbox)) == 'string'
    parts[#parts + 1] = ':' .. group .. ' ' .. (is_whole and '1' or '0')
    listed = listed + 1
    return list_members(group, rank)
end

local from = '>' .. from_group .. ' ' .. from_end .. ' '
local group, last_end, last_address = from_group, nil, nil
if from_end ~= '' then
    local rank, address = rank_after(from_group)
    from = from .. address
    last_end, last_address = list_group(from_group, rank)
else
    from = from .. from_address
end
local is_last = false
if not last_end then
    local names, more = page_of(memberships_key, from_group, ENOUGH - listed > 0 and ENOUGH - listed or 1)
    is_last = more == ''
    for number, name in ipairs(names) do
        -- A group is begun with one member at least: one that is listed without any has none.
        if listed > ENOUGH - 2 then
            is_last = false
            break
        end
        group = name
        last_end, last_address = list_group(name, 0)
        if last_end then
            is_last = false
            break
        end
    end
end
local to = '<' .. (is_last and '' or group) .. ' ' .. (last_end or '') .. ' ' .. (last_address or '')
local n, tag = state[N] or '0', state[BY] or ':'
local body = 'w' .. n .. ' ' .. tag .. ' ' .. call .. ' ' .. from .. ' ' .. to
if #parts > 0 then
    body = body .. ' ' .. table.concat(parts, ' ')
end
why = write_control(prefix, inbox, state, body, microseconds, now, {})
if why then
    return redis.error_reply(why)
end
return {'ok', microseconds}
