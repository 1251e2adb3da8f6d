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
local READY_BYTES        -- pages that each worker has at hand besides

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
        ngx.log(ngx.WARN, "the unit's MemoryDenyWriteExecute keeps LuaJIT from compiling: a kept page costs nearly twice the CPU")
    end
    settings = assert(cjson.decode(settings))
    READY_BYTES = settings.ready_mb * 1024 * 1024
    for _, site in ipairs(settings.sites) do
        site.state_key, site.app_location, site.fill_location = "state:" .. site.name, "@" .. site.name, "@" .. site.name .. "_fill"
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
    READY_BYTES = READY_BYTES / ngx.worker.count()
    feed.start(sites)
end

-- A page: expires, made, generation, n, xmin, began, keys, headers; and body, which stands behind these in a copy.
local function unpack_page(copy)
    local length = tonumber(copy:sub(33, 40))
    local page = cjson.decode(copy:sub(41, 40 + length))
    page.id, page.body = copy:sub(1, 32), copy:sub(41 + length)
    return page
end

local function pack_page(page)
    local head = cjson.encode({
        expires = page.expires, made = page.made, generation = page.generation, n = page.n, xmin = page.xmin, began = page.began,
        keys = page.keys, headers = page.headers,
    })
    return ngx.md5(head) .. ("%08d"):format(#head) .. head .. page.body
end

-- What this worker served last, so that it need not unpack it again and again. As good as any copy: what is good says is_good alone.
local ready, ready_bytes = {}, 0

local function remember(name, page)
    local bytes = #page.body + 2000 -- and its headers, about
    if bytes * 8 > READY_BYTES then
        return
    end
    ready_bytes = ready_bytes + bytes
    if ready_bytes > READY_BYTES then
        ready, ready_bytes = {}, bytes
    end
    ready[name] = page
end

-- Whether a page may be served: not expired, and what it shows is known not to have changed, or it is so new that a change could be
-- no older than the second in which it may go unnoticed.
local function is_good(site, state, page)
    local left = page.expires - ngx.time()
    -- Longer than a copy may live: made by another clock, and what changed since may be forgotten.
    if left <= 0 or left > site.seconds + 60 then
        return false
    end
    if site.mode == "ttl" then
        return true
    end
    return feed.is_confirmed(state) and not feed.has_changed(page, state) or feed.monotonic() - page.began <= feed.TRUSTED_SECONDS
end

local function find(site, state, name)
    local page = ready[name]
    if page and is_good(site, state, page) then
        return page
    end
    local copy = pages:get(name)
    if copy and not (page and copy:sub(1, 32) == page.id) then
        page = unpack_page(copy)
        remember(name, page)
        return is_good(site, state, page) and page
    end
end

local function find_shared(site, state, name)
    local copy = store.get(name)
    local page = copy and unpack_page(copy)
    if page then
        -- Rendered elsewhere: this gateway's counters say nothing of it, its transactions do.
        page.generation, page.n, page.began = "", 0, 0
        if is_good(site, state, page) then
            page.generation, page.n = state.generation, state.n
            pages:set(name, pack_page(page), page.expires - ngx.time())
            return page
        end
    end
end

local function serve(page, what)
    local header = ngx.header
    ngx.var.gateway_cache = what
    for _, one in ipairs(page.headers) do
        header[one[1]] = one[2]
    end
    header["Age"] = math.max(0, ngx.time() - page.made)
    header["Content-Length"] = #page.body
    ngx.print(page.body)
    return ngx.exit(ngx.HTTP_OK)
end

-- The app is asked in locations of their own: filters for what may be kept would else run for copies and for all other requests too.
local function bypass(site, why)
    ngx.var.gateway_cache, ngx.var.gateway_cache_why = "BYPASS", why
    return ngx.exec(why == "not kept" and site.fill_location or site.app_location)
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
    return ngx.exec(site.fill_location)
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
        local page = find(site, state, full_name)
        if page then
            return serve(page, "HIT")
        end
        if is_head then
            return bypass(site, "HEAD")
        end
        if marks:get("skip:" .. full_name) then
            return bypass(site, "not kept")
        end
        if marks:add("fill:" .. full_name, true, site.request_seconds + 15) then
            page = find_shared(site, state, full_name)
            if page then
                marks:delete("fill:" .. full_name)
                return serve(page, "SHARED")
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
    local page = {
        expires = filling.made + kept.seconds, made = filling.made, generation = filling.generation, n = filling.n, xmin = filling.xmin,
        began = filling.began, keys = site.mode == "tags" and feed.watched(site, kept.keys) or {}, headers = headers, body = body,
    }
    local copy, state = pack_page(page), feed.state(site)
    -- Out of date already (a slow render, a change meanwhile): who waits would only render again, one after the other.
    if not state or not is_good(site, state, page) then
        return give_up(filling, "out of date", RETRY_SECONDS)
    end
    if not pages:set(filling.name, copy, kept.seconds) then
        return give_up(filling, "no room", SKIP_SECONDS)
    end
    marks:delete("fill:" .. filling.name)
    fills[filling.id], ngx.var.gateway_fill = nil, ""
    store.set(filling.name, copy, kept.seconds)
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
        return ngx.exec(sites[site_name].app_location)
    end
end

return M
