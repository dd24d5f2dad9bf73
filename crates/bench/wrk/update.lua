-- Changes tasks, each with the version that the last answer about it had. Each line of the file is a task:
-- token, id, version.
dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "report.lua")

-- Those that no request is on its way for.
local ready, first, last = {}, 1, 0
local token

local function push(id, version)
  last = last + 1
  ready[last] = { id, version }
end

function init(args)
  for _, row in ipairs(fields_of(args[1])) do
    token = row[1]
    push(row[2], tonumber(row[3]))
  end
end

function request()
  local id, version = unpack(ready[first])
  ready[first] = nil
  first = first + 1
  -- Something else every time: what changes nothing is not written.
  local body = '{"version":' .. version .. ',"title":"Changed at version ' .. version .. '"}'
  return compose("PATCH", "/api/v1/tasks/" .. id, token, body)
end

function response(status, _, body)
  if status == 200 then push(body:match('"id":"([^"]+)"'), tonumber(body:match('"version":(%d+)'))) end
end
