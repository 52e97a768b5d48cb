#!lua
-- Looks whether this server and the rights of its user allow what the scripts do; changes nothing. The server itself refuses
-- the call where it takes no writes or has no memory left.
-- reply: {"ok", now, may_ask}   the server's time in ms; 1 if the user may call INFO, which tells the eviction policy, else 0
-- reply: {"denied", command}   the user has no right to this command on the layer's keys and channels
local client_key = KEYS[1] -- [hash]   <prefix>c:<client>, which tells where to run
local prefix     = ARGV[1] -- [prefix] of every key
-- @include "lib/clock"
-- @include "lib/rights"

local denied = denied_command(prefix, COMMANDS)
if denied then
    return {'denied', denied}
end
local _, now = clock()
return {'ok', now, redis.acl_check_cmd('INFO', 'memory') and 1 or 0}
