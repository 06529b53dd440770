-- wrk: each request posts a Keycloak login of its own, a template with a new id and a new time in it.
-- Arguments: token, file of the template, mark of the id, mark of the time, seed, first time (epoch milliseconds).

local head, middle, tail, time
local random, format = math.random, string.format

function init(args)
   local file = assert(io.open(args[2], "rb"))
   wrk.headers["Authorization"] = "Bearer " .. args[1]
   wrk.headers["Content-Type"] = "application/json"
   local whole = wrk.format("POST", nil, nil, file:read("*a"))
   file:close()
   local id = assert(whole:find(args[3], 1, true))
   local at = assert(whole:find(args[4], id + #args[3], true))
   head = whole:sub(1, id - 1)
   middle = whole:sub(id + #args[3], at - 1)
   tail = whole:sub(at + #args[4])
   math.randomseed(tonumber(args[5]))
   time = tonumber(args[6])
end

function request()
   time = time + 1
   local id = format("%08x-%04x-4%03x-a%03x-%06x%06x", random(0, 0xffffffff), random(0, 0xffff), random(0, 0xfff),
      random(0, 0xfff), random(0, 0xffffff), random(0, 0xffffff))
   return head .. id .. middle .. format("%013.0f", time) .. tail
end

function done(summary, latency)
   local errors = summary.errors
   io.write(format('{"requests":%d,"microseconds":%d,"refused":%d,"broken":%d,"p50":%d,"p99":%d}\n', summary.requests,
      summary.duration, errors.status, errors.connect + errors.read + errors.write + errors.timeout,
      latency:percentile(50), latency:percentile(99)))
end
