-- Returns whether a call came over a connection that its client has since replaced. A call without a client is never
-- stale.
local function is_stale(prefix, client, generation)
    -- What another program put in the place of the client's record is an error, and none of its generations.
    return client ~= '' and redis.pcall('HGET', prefix .. 'c:' .. client, 'g') ~= generation
end
