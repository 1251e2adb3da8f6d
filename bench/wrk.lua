-- What the command line of wrk cannot say; see load.py, which sets the variables.

local threads = {}

-- Connects to BENCH_ADDRESS; the URL's name goes into Host and the TLS handshake.
local resolve = wrk.resolve
function wrk.resolve(_, service)
    resolve(os.getenv("BENCH_ADDRESS"), service)
end

wrk.method = os.getenv("BENCH_METHOD")
wrk.body = os.getenv("BENCH_BODY")

function setup(thread)
    table.insert(threads, thread)
end

-- wrk itself calls only 400 and above an error. Looking at every answer is too dear for pages that are served from memory, whose
-- size tells as much; so this is for those that write.
local expected = tonumber(os.getenv("BENCH_STATUS"))
wrong = 0
if expected then
    function response(status)
        if status ~= expected then
            wrong = wrong + 1
        end
    end
end

function done(summary, latency)
    local errors = summary.errors
    local unexpected = errors.status
    for _, thread in ipairs(threads) do
        unexpected = unexpected + thread:get("wrong")
    end
    io.write(string.format(
        '\n{"requests": %d, "microseconds": %d, "bytes": %d, "p50_us": %d, "p99_us": %d,'
            .. ' "connect": %d, "read": %d, "write": %d, "timeout": %d, "status": %d}\n',
        summary.requests, summary.duration, summary.bytes, latency:percentile(50), latency:percentile(99),
        errors.connect, errors.read, errors.write, errors.timeout, unexpected))
end
