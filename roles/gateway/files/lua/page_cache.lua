-- Managed by Ansible (role gateway). Keeps pages that everybody may see: first here, then in the shared store, then it has one rendered.
--
-- A copy is a string in the shared dict gateway_pages: id (32), length of its head (8), head (JSON), body (gzip, if that is shorter).
-- gateway_marks has what is under way ("fill:NAME") and what turned out not to be kept ("skip:NAME"), so that nobody waits for that.
local cjson = require "cjson.safe"
local ffi = require "ffi"
local feed = require "feed"
local gzip = require "gzip"
local request = require "request"
local response = require "response"
local store = require "store"

local M = {}
local pages, marks = ngx.shared.gateway_pages, ngx.shared.gateway_marks
local sites = {}

local SKIP_SECONDS = 60  -- an answer that must not be kept
local RETRY_SECONDS = 2  -- one that only this time could not be
local BODY_SECONDS = 2   -- who waits does not wait for a client that reads slowly
local HEADS = 2000       -- decoded heads in each worker

ffi.cdef [[
void *mmap(void *address, size_t length, int protection, int flags, int file, long offset);
int mprotect(void *address, size_t length, int protection);
int munmap(void *address, size_t length);
]]

-- Where it is not, LuaJIT would end the worker at the first loop that it wants to compile.
local function is_code_allowed()
    local READ_WRITE, READ_EXECUTE, PRIVATE_ANONYMOUS = 3, 5, 0x22
    local page = ffi.C.mmap(nil, 4096, READ_WRITE, PRIVATE_ANONYMOUS, -1, 0)
    local allowed = ffi.C.mprotect(page, 4096, READ_EXECUTE) == 0
    ffi.C.munmap(page, 4096)
    return allowed
end

-- In the master, also for nginx -t: what is wrong here keeps the old configuration.
function M.setup(settings)
    if not is_code_allowed() then
        jit.off()
        ngx.log(ngx.WARN, "the unit's MemoryDenyWriteExecute keeps LuaJIT from compiling: copies cost half as much again")
    end
    settings = assert(cjson.decode(settings))
    for _, site in ipairs(settings.sites) do
        site.state_key, site.app_location = "state:" .. site.name, "@" .. site.name
        request.setup(site)
        sites[site.name] = site
    end
    if settings.store then
        local file = assert(io.open(settings.store.password_file))
        settings.store.password = file:read("*a")
        file:close()
        store.setup(settings.store)
    end
end

function M.start()
    feed.start(sites)
end

local heads, number_of_heads = {}, 0

-- A copy's head: expires, generation, n, xmin, began, keys, headers. Decoded once in each worker.
local function head_of(blob)
    local id = blob:sub(1, 32)
    local head = heads[id]
    if not head then
        local length = tonumber(blob:sub(33, 40))
        head = cjson.decode(blob:sub(41, 40 + length))
        head.body_at = 41 + length
        if number_of_heads >= HEADS then
            heads, number_of_heads = {}, 0
        end
        heads[id] = head
        number_of_heads = number_of_heads + 1
    end
    return head
end

local function pack(head, body)
    local text = cjson.encode(head)
    return ngx.md5(text) .. ("%08d"):format(#text) .. text .. body
end

-- Whether a copy may be served: not expired, and what it shows is known not to have changed, or it is so new that a change could be
-- no older than the second in which it may go unnoticed.
local function is_good(site, state, head)
    local left = head.expires - ngx.time()
    -- Longer than a copy may live: made by another clock, and what changed since may be forgotten.
    if left <= 0 or left > site.seconds + 60 then
        return false
    end
    if site.mode == "ttl" then
        return true
    end
    return feed.is_confirmed(state) and not feed.has_changed(head, state) or feed.monotonic() - head.began <= feed.TRUSTED_SECONDS
end

local function find(site, state, name)
    local blob = pages:get(name)
    if blob then
        local head = head_of(blob)
        if is_good(site, state, head) then
            return blob, head
        end
    end
end

local function find_shared(site, state, name)
    local blob = store.get(name)
    if blob then
        local head = head_of(blob)
        -- Rendered elsewhere: this gateway's counters say nothing of it, its transactions do.
        head.generation, head.n, head.began = "", 0, 0
        if is_good(site, state, head) then
            pages:set(name, pack({
                expires = head.expires, made = head.made, generation = state.generation, n = state.n, xmin = head.xmin, began = 0,
                keys = head.keys, headers = head.headers,
            }, blob:sub(head.body_at)), head.expires - ngx.time())
            return blob, head
        end
    end
end

local function serve(blob, head, what)
    local header = ngx.header
    ngx.var.gateway_cache = what
    for _, one in ipairs(head.headers) do
        header[one[1]] = one[2]
    end
    header["Age"] = math.max(0, ngx.time() - head.made)
    header["Content-Length"] = #blob - head.body_at + 1
    ngx.print(blob:sub(head.body_at))
    return ngx.exit(ngx.HTTP_OK)
end

-- Not in this location: its filters would run for copies too, for nothing.
local function ask_app(site)
    return ngx.exec(site.app_location)
end

local function bypass(site, why)
    ngx.var.gateway_cache, ngx.var.gateway_cache_why = "BYPASS", why
    return ask_app(site)
end

-- Pages that this worker has rendered just now. Not in ngx.ctx, which is lost on the way to another location.
local fills, number_of_fills = {}, 0

-- Ask the app, and keep what it answers. The state is that before the app is asked, so a change during the render is noticed.
local function fill(site, state, name, cookies)
    local why = request.limit(site, cookies)
    if why then
        marks:delete("fill:" .. name)
        return bypass(site, why)
    end
    local var = ngx.var
    number_of_fills = number_of_fills + 1
    local id = tostring(number_of_fills)
    var.gateway_cache, var.gateway_fill = "MISS", id
    fills[id] = {
        id = id, site = site, name = name, content = state.content, generation = state.generation, n = state.n, xmin = state.xmin,
        began = feed.monotonic(), made = ngx.time(), chunks = {}, size = 0,
    }
    return ask_app(site)
end

local function access(site_name)
    local site = sites[site_name]
    local name, cookies, is_head = request.name(site)
    if not name then
        return bypass(site, cookies)
    end
    local waited, pause = 0, 0.002
    while true do
        -- Anew after each wait: a change or a release may have come meanwhile.
        local state = feed.state(site)
        if not state then
            return bypass(site, "feed")
        end
        local full_name = state.prefix .. name
        local blob, head = find(site, state, full_name)
        if blob then
            return serve(blob, head, "HIT")
        end
        if is_head then
            return bypass(site, "HEAD")
        end
        if marks:get("skip:" .. full_name) then
            return bypass(site, "not kept")
        end
        if marks:add("fill:" .. full_name, true, site.request_seconds + 15) then
            blob, head = find_shared(site, state, full_name)
            if blob then
                marks:delete("fill:" .. full_name)
                return serve(blob, head, "SHARED")
            end
            return fill(site, state, full_name, cookies)
        end
        if waited >= site.request_seconds then
            return bypass(site, "waited")
        end
        ngx.sleep(pause)
        waited, pause = waited + pause, math.min(pause * 1.5, 0.05)
    end
end

-- Nobody waits for this page for a while.
local function give_up(filling, why, seconds)
    marks:set("skip:" .. filling.name, true, seconds)
    marks:delete("fill:" .. filling.name)
    ngx.var.gateway_fill, ngx.var.gateway_cache_why = "", why
    fills[filling.id] = nil
end

-- A trouble (500, 503) or a refusal (403, 429) says nothing of the page: nor may who was refused keep it out of the cache for others.
local function skip_seconds(why)
    local status = ngx.status
    return (why == "another release" or status >= 400 and status ~= 404 and status ~= 410) and RETRY_SECONDS or SKIP_SECONDS
end

local function header(site_name)
    local var = ngx.var
    local filling = fills[var.gateway_fill]
    if filling then
        local kept, why = response.judge(filling.site, filling.content)
        if not kept then
            return give_up(filling, why, skip_seconds(why))
        end
        filling.kept = kept
        marks:replace("fill:" .. filling.name, true, BODY_SECONDS)
    elseif var.gateway_cache_why == "not kept" and not response.judge(sites[site_name]) then
        -- Still not to be kept; so it stays as long as somebody asks.
        local site = sites[site_name]
        local name, state = request.name(site), feed.state(site)
        if name and state then
            marks:set("skip:" .. state.prefix .. name, true, skip_seconds())
        end
    end
end

local function keep(filling)
    local site, kept, body = filling.site, filling.kept, table.concat(filling.chunks)
    if kept.length and kept.length ~= #body then
        return give_up(filling, "cut off", RETRY_SECONDS)
    end
    local headers = kept.headers
    -- Weak, since the page may be sent packed or not. A browser that has it need not get it again.
    headers[#headers + 1] = {"ETag", kept.tag and "W/" .. kept.tag:gsub("^W/", "") or 'W/"' .. ngx.md5(body) .. '"'}
    local packed = gzip(body)
    if packed then
        body = packed
        headers[#headers + 1] = {"Content-Encoding", "gzip"}
    end
    local head = {
        expires = filling.made + kept.seconds, made = filling.made, generation = filling.generation, n = filling.n, xmin = filling.xmin,
        began = filling.began, keys = site.mode == "tags" and feed.watched(site, kept.keys) or {}, headers = headers,
    }
    local blob = pack(head, body)
    local state = feed.state(site)
    -- Out of date already (a slow render, a change meanwhile): who waits would only render again, one after the other.
    if not state or not is_good(site, state, head) then
        return give_up(filling, "out of date", RETRY_SECONDS)
    end
    local stored = pages:set(filling.name, blob, kept.seconds)
    if not stored then
        return give_up(filling, "no room", SKIP_SECONDS)
    end
    marks:delete("fill:" .. filling.name)
    fills[filling.id], ngx.var.gateway_fill = nil, ""
    store.set(filling.name, blob, kept.seconds)
end

local function body()
    local filling = fills[ngx.var.gateway_fill]
    if not filling or not filling.kept then
        return
    end
    local chunk = ngx.arg[1]
    filling.size = filling.size + #chunk
    if filling.size > response.LONGEST_BODY then
        return give_up(filling, "large", SKIP_SECONDS)
    end
    filling.chunks[#filling.chunks + 1] = chunk
    if ngx.arg[2] then
        keep(filling)
    end
end

-- A request that ended before its page was kept: who waits for it goes on. Only if the client left is it worth that one of them tries again.
local function log()
    local filling = fills[ngx.var.gateway_fill]
    if filling then
        if ngx.status ~= 499 then
            marks:set("skip:" .. filling.name, true, RETRY_SECONDS)
        end
        marks:delete("fill:" .. filling.name)
        fills[filling.id] = nil
    end
end

-- A mistake in here may cost the cache, but not the site.
local function guarded(what)
    return function(site_name)
        local fine, why = pcall(what, site_name)
        if not fine then
            ngx.log(ngx.ERR, why)
        end
    end
end

M.header, M.body, M.log = guarded(header), guarded(body), guarded(log)

function M.access(site_name)
    local fine, why = pcall(access, site_name)
    if not fine then
        ngx.log(ngx.ERR, why)
        return ask_app(sites[site_name])
    end
end

return M
