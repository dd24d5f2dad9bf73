-- What every script ends with: one line of figures, for src/wrk.rs. Times in microseconds.
function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    "figures requests=%d duration=%d p50=%d p99=%d status=%d connect=%d read=%d write=%d timeout=%d\n",
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect, errors.read, errors.write, errors.timeout))
end

-- The lines of a file, each split at its tabs.
function fields_of(path)
  local rows = {}
  for line in io.lines(path) do
    local row = {}
    for field in (line .. "\t"):gmatch("([^\t]*)\t") do row[#row + 1] = field end
    rows[#rows + 1] = row
  end
  return rows
end

-- A request as wrk sends it. An empty token or body is none.
function compose(method, path, token, body)
  local headers = { Host = wrk.headers["Host"] }
  if token and token ~= "" then headers["Authorization"] = "Bearer " .. token end
  if body and body ~= "" then headers["Content-Type"] = "application/json" else body = nil end
  return wrk.format(method, path, headers, body)
end
