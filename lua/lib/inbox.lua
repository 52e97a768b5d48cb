-- @include "lib/layout"

local function is_inbox(queue)
    return string.byte(queue, -1) == EXCLAMATION_MARK
end
