-- Sends requests that do not depend on one another, over and over. Each line of the file is one:
-- method, path, token, body.
dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "report.lua")

local requests, last = {}, 0

function init(args)
  for _, row in ipairs(fields_of(args[1])) do
    requests[#requests + 1] = compose(unpack(row))
  end
end

function request()
  last = last % #requests + 1
  return requests[last]
end
