-- Sends each request of a file once, in order, and prints the result for load.sh.
local requests, index = {}, 0

function init(args)
    local file = assert(io.open(args[1], "rb"))
    while true do
        local length = file:read("*n")
        if not length then break end
        file:read(1)
        requests[#requests + 1] = file:read(length)
    end
    file:close()
end

function request()
    index = index % #requests + 1
    return requests[index]
end

-- Prints the requests, the seconds, the median and the 99th percentile in microseconds, the responses without success,
-- and the failed connections.
function done(summary, latency)
    local errors = summary.errors
    io.write(string.format("RESULT %d %.3f %d %d %d %d\n", summary.requests, summary.duration / 1e6,
        latency:percentile(50), latency:percentile(99), errors.status,
        errors.connect + errors.read + errors.write + errors.timeout))
end
