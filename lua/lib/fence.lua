-- Whether a call comes over a connection that its client has since replaced. Who names no client is never late.
local function is_stale(prefix, client, generation)
    return client ~= '' and redis.call('HGET', prefix .. 'c:' .. client, 'g') ~= generation
end
