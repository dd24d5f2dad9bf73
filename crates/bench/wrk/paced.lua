-- The same requests with a pause before each: traffic that leaves the machine time for something else, so that
-- its latency tells how much that something disturbs it.
dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "requests.lua")

function delay() return 20 end
