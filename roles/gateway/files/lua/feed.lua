-- Managed by Ansible (role gateway). What changed in each site's database, and since when we know.
--
-- One worker asks each site's feed five times a second. An answer says: at the time you asked, these keys had changed since you asked
-- last. It is kept in the shared dict gateway_changes:
--   state:SITE   JSON: generation, n, cursor, epoch, content, xmin, highest (transaction told of), confirmed (when the last good poll began)
--   SITE:KEY     the highest transaction that changed KEY, to judge pages that were rendered elsewhere or before a restart;
--                and, as the entry's flags, the n of the last poll that told of a change of KEY
local cjson = require "cjson.safe"
local ffi = require "ffi"

local M = {}
local changes, marks = ngx.shared.gateway_changes, ngx.shared.gateway_marks

local POLL_SECONDS, SILENT_SECONDS = 0.2, 0.5
-- A write may be seen by no copy more than a second later. The rest of that second is for the answer's own way.
M.TRUSTED_SECONDS = 0.75
-- As long as a copy may live, and as the feed remembers.
local KEEP_MORE_SECONDS = 60
-- Keys of one answer that are noted one by one; of more, "*" is, which every page shows.
local MOST_KEYS = 20000

ffi.cdef "typedef struct { long seconds, nanoseconds; } gateway_time; int clock_gettime(int clock, gateway_time *time);"
local time = ffi.new("gateway_time")

-- Seconds on a clock that nobody sets, the same for all workers. nginx's own may be set back, and old copies would seem new.
local function monotonic()
    ffi.C.clock_gettime(1, time)
    return tonumber(time.seconds) + tonumber(time.nanoseconds) / 1e9
end
M.monotonic = monotonic

-- The site's state, or nothing as long as its feed was never heard. Decoded once for each poll, not for each request.
function M.state(site)
    local packed = changes:get(site.state_key)
    if packed ~= site.packed_state then
        site.packed_state = packed
        site.state = packed and cjson.decode(packed)
        if site.state then
            site.state.prefix = table.concat({site.name, site.version, site.state.content, site.state.epoch}, "\n") .. "\n"
        end
    end
    return site.state
end

function M.is_confirmed(state)
    return monotonic() - state.confirmed <= M.TRUSTED_SECONDS
end

-- Whether something that a copy shows has changed since it was made.
function M.has_changed(copy, state)
    if copy.generation == state.generation and copy.n == state.n then
        return false
    end
    local made_here = copy.generation == state.generation
    for _, key in ipairs(copy.keys) do
        local xid, n = changes:get(key)
        if xid and (made_here and n > copy.n or not made_here and xid >= copy.xmin) then
            return true
        end
    end
    -- Up to here nothing concerned it, so the next look need not go over its keys again.
    copy.generation, copy.n = state.generation, state.n
    return false
end

-- What is to be watched for a page with these keys: they themselves, and for "catalog.product:12" also "catalog.product*", all such keys.
function M.watched(site, keys)
    -- "*" is everything: the feed says so of more changes than it can tell one by one.
    local found, list = {}, {site.name .. ":*"}
    local function add(key)
        if not found[key] then
            found[key] = true
            list[#list + 1] = site.name .. ":" .. key
        end
    end
    for key in keys:gmatch("%S+") do
        add(key)
        add(key:match("^[^:]*") .. "*")
    end
    return list
end

-- One HTTP request to one feed: the parsed answer, or nothing and why.
local function ask(site, target, cursor)
    local socket = ngx.socket.tcp()
    socket:settimeouts(200, 200, 500)
    local connected, why
    if target.socket then
        connected, why = socket:connect("unix:" .. target.socket)
    else
        connected, why = socket:connect(target.host, target.port, {pool = "feed:" .. target.host .. ":" .. target.port .. ":" .. site.name})
        if connected and socket:getreusedtimes() == 0 then
            connected, why = socket:sslhandshake(nil, target.server_name, true)
        end
    end
    if not connected then
        return nil, why
    end
    local sent
    sent, why = socket:send({
        "GET ", target.path, "?since=", ngx.escape_uri(cursor), " HTTP/1.1\r\nHost: ", site.domain,
        "\r\nX-Appliance-Probe: feed\r\nConnection: keep-alive\r\n\r\n",
    })
    local line, length, close = sent and socket:receive("*l"), nil, false
    local status = line and line:match("^HTTP/1%.[01] (%d+)")
    repeat
        line, why = socket:receive("*l")
        local name, value = (line or ""):match("^([^:]+):%s*(.-)%s*$")
        if name and name:lower() == "content-length" then
            length = tonumber(value)
        elseif name and name:lower() == "connection" then
            close = value:lower() == "close"
        end
    until not line or line == ""
    local body = length and socket:receive(length)
    if not body or close then
        socket:close()
    else
        socket:setkeepalive(10000, 4)
    end
    if status ~= "200" or not body then
        return nil, status and "status " .. status or why or "no answer"
    end
    return cjson.decode(body)
end

-- The first app host that answers. Always in the same order: app hosts that are just getting a new release disagree about the content.
local function ask_any(site, cursor)
    local answer, why
    for _, target in ipairs(site.feed) do
        answer, why = ask(site, target, cursor)
        if answer then
            return answer
        end
    end
    return nil, why
end

-- Note a change; false when the dict is full.
local function note(site, n, xid, key)
    key = site.name .. ":" .. key
    return changes:safe_set(key, math.max(xid, changes:get(key) or 0), site.seconds + KEEP_MORE_SECONDS, n)
end

-- Note what an answer tells; false when the dict is full.
local function note_all(site, state, told)
    local number = 0
    for _, change in ipairs(told) do
        number = number + #change[2]
        state.highest = math.max(state.highest, change[1])
    end
    if number > MOST_KEYS then
        return note(site, state.n, state.highest, "*")
    end
    for _, change in ipairs(told) do
        for _, key in ipairs(change[2]) do
            if not note(site, state.n, change[1], key) then
                return false
            end
        end
    end
    return true
end

local function new_generation()
    return ngx.now() .. "-" .. ngx.worker.pid()
end

local function poll(site)
    local packed = changes:get(site.state_key)
    local old = packed and cjson.decode(packed) or {generation = new_generation(), n = 0, cursor = ""}
    local began = monotonic()
    local answer, why = ask_any(site, old.cursor)
    if not answer then
        return nil, why
    end
    -- After a reload the new worker asks, and another site's poll may have emptied the dict: what is told since an old state is not all then.
    if ngx.worker.exiting() or changes:get(site.state_key) ~= packed then
        return true
    end
    local state = {
        generation = old.generation, n = old.n, cursor = answer.cursor, epoch = answer.epoch, content = answer.content, xmin = answer.xmin,
        highest = old.epoch == answer.epoch and old.highest or 0, confirmed = began,
    }
    if #answer.changes > 0 then
        state.n = old.n + 1
        if not note_all(site, state, answer.changes) then
            -- What cannot be noted would make copies live that are dead. Forget everything: whatever may not have seen all of it has changed.
            changes:flush_all()
            changes:flush_expired()
            ngx.log(ngx.WARN, "gateway_changes is full, so all copies of ", site.name, " are made anew")
            state.generation = new_generation()
            if not note(site, state.n, state.highest, "*") then
                return nil, "gateway_changes is full"
            end
        end
    end
    -- Last, so that who sees this n finds all keys up to it.
    if not changes:safe_set(site.state_key, cjson.encode(state)) then
        changes:flush_all()
        changes:flush_expired()
        return nil, "gateway_changes is full"
    end
    return true
end

local function poll_again(premature, site)
    if premature then
        return
    end
    -- For the moment of a reload in which two workers would ask; ends by itself should one die here. Not among the changes, of which it
    -- could push one out.
    local lock = "poll:" .. site.name
    local heard, why = true, nil
    if marks:add(lock, true, 2) then
        local ran
        ran, heard, why = pcall(poll, site)
        if not ran then
            heard, why = nil, heard
        end
        marks:delete(lock)
    end
    local at_once = heard or not site.silent
    if not heard ~= (site.silent or false) then
        site.silent = not heard
        ngx.log(ngx.WARN, "feed of ", site.name, ": ", heard and "heard again" or "silent, so its pages are rendered: ", heard and "" or why)
    end
    ngx.timer.at(at_once and POLL_SECONDS or SILENT_SECONDS, poll_again, site)
end

function M.start(sites)
    if ngx.worker.id() == 0 then
        for _, site in pairs(sites) do
            ngx.timer.at(0, poll_again, site)
        end
    end
end

return M
