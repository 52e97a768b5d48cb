-- A client is remembered for an hour past its lease: without its generation, a late command of an old connection would
-- pass for one of a new connection. A client is also remembered as long as an entry that it was handed. So the time is
-- only ever extended.
-- @include "lib/layout"

local function keep_client(client_key, lease, is_new)
    if is_new then
        redis.call('PEXPIRE', client_key, lease + MEMORY)
    else
        redis.call('PEXPIRE', client_key, lease + MEMORY, 'GT')
    end
end

-- Keeps a client as long as an entry that it was handed.
local function keep_handed(client_key, deadline, now)
    if deadline - now > MEMORY then
        redis.call('PEXPIRE', client_key, deadline - now, 'GT')
    end
end
