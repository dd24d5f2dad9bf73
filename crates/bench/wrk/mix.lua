-- Of a hundred requests 70 list, 20 read, 5 create and 5 change a task, each as a user by chance. Each line of
-- the file is a task: token, id, version.
dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "report.lua")

-- No answer is read, which would cost the load generator much: the version after a change is known. There are
-- so many tasks to change that an answer has come long before a task's turn comes again.
local tasks, turn = {}, 0
local lists, gets = {}, {}
local sent = 0
local created = '{"title":"Water the plants","description":"The ones on the balcony first","priority":"high"}'

function init(args)
  for _, row in ipairs(fields_of(args[1])) do
    local token, id = row[1], row[2]
    tasks[#tasks + 1] = { token, id, tonumber(row[3]) }
    gets[#gets + 1] = compose("GET", "/api/v1/tasks/" .. id, token)
    if not lists[token] then
      lists[token] = true
      lists[#lists + 1] = compose("GET", "/api/v1/tasks", token)
    end
  end
end

function request()
  sent = sent + 1
  local chance = math.random(100)
  -- The first is one that wrk asks for, but does not send.
  if sent == 1 or chance <= 70 then
    return lists[math.random(#lists)]
  elseif chance <= 90 then
    return gets[math.random(#gets)]
  elseif chance <= 95 then
    return compose("POST", "/api/v1/tasks", tasks[math.random(#tasks)][1], created)
  end
  turn = turn % #tasks + 1
  local token, id, version = unpack(tasks[turn])
  tasks[turn][3] = version + 1
  local body = '{"version":' .. version .. ',"title":"Changed at version ' .. version .. '"}'
  return compose("PATCH", "/api/v1/tasks/" .. id, token, body)
end
