-- wrk: posts the lines of a file, each once, and says on standard output when the first went out and when the last
-- was answered. Arguments: token, file, number of lines. Ends itself after the last answer.

local file, lines
local asked, taken, answered, accepted = 0, 0, 0, 0

function init(args)
   wrk.headers["Authorization"] = "Bearer " .. args[1]
   wrk.headers["Content-Type"] = "application/json"
   file = assert(io.open(args[2], "rb"))
   lines = tonumber(args[3])
end

-- How long a connection waits before its next request, in milliseconds: for ever when there is none left.
function delay()
   if taken == lines then return 3600000 end
   taken = taken + 1
   return 0
end

function request()
   asked = asked + 1
   if asked == 1 then return wrk.format("GET") end -- wrk asks once before it begins, and sends that nowhere
   if asked == 2 then
      io.write("begin\n")
      io.flush()
   end
   return wrk.format("POST", nil, nil, file:read("*l"))
end

function response(status)
   answered = answered + 1
   if status == 202 then accepted = accepted + 1 end
   if answered == lines then
      io.write("end " .. accepted .. "\n")
      io.flush()
      os.exit(0)
   end
end
