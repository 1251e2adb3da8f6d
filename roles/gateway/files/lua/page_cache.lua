-- Managed by Ansible (role gateway). Keeps pages that everybody may see: first here, then in the shared store, then it has one rendered.
--
-- A copy is a string in the shared dict gateway_pages: id (32), length of its head (8), head (JSON), body (gzip, if that is shorter).
-- gateway_marks has what is under way ("fill:NAME") and what turned out not to be kept ("skip:NAME"), so that nobody waits for that.
local cjson = require "cjson.safe"
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
local HEADS = 2000       -- decoded heads in each worker

-- In the master, also for nginx -t: what is wrong here keeps the old configuration.
function M.setup(settings)
    jit.off()
    settings = assert(cjson.decode(settings))
    for _, site in ipairs(settings.sites) do
        site.state_key = "state:" .. site.name
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
    if head.expires <= ngx.time() then
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

local function bypass(why)
    ngx.var.gateway_cache, ngx.var.gateway_cache_why = "BYPASS", why
end

-- Ask the app, and keep what it answers. The state is that before the app is asked, so a change during the render is noticed.
local function fill(site, state, name, cookies)
    local why = request.limit(site, cookies)
    if why then
        marks:delete("fill:" .. name)
        return bypass(why)
    end
    local var = ngx.var
    var.gateway_cache, var.gateway_fill = "MISS", name
    ngx.ctx.fill = {
        site = site, name = name, content = state.content, generation = state.generation, n = state.n, xmin = state.xmin,
        began = feed.monotonic(), made = ngx.time(), chunks = {}, size = 0,
    }
end

local function access(site_name)
    local site = sites[site_name]
    local name, cookies = request.name(site)
    if not name then
        return bypass(cookies)
    end
    local waited, pause = 0, 0.002
    while true do
        -- Anew after each wait: a change or a release may have come meanwhile.
        local state = feed.state(site)
        if not state then
            return bypass("feed")
        end
        local full_name = state.prefix .. name
        local blob, head = find(site, state, full_name)
        if blob then
            return serve(blob, head, "HIT")
        end
        if ngx.var.request_method == "HEAD" then
            return bypass("HEAD")
        end
        if marks:get("skip:" .. full_name) then
            ngx.ctx.skipped = {site = site, name = full_name}
            return bypass("not kept")
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
            return bypass("waited")
        end
        ngx.sleep(pause)
        waited, pause = waited + pause, math.min(pause * 1.5, 0.05)
    end
end

-- Nobody waits for this page for a while.
local function give_up(name, why, seconds)
    marks:set("skip:" .. name, true, seconds)
    marks:delete("fill:" .. name)
    ngx.var.gateway_fill, ngx.var.gateway_cache_why = "", why
    ngx.ctx.fill = nil
end

local function header()
    local var = ngx.var
    local filling = var.gateway_fill ~= "" and ngx.ctx.fill
    if filling then
        local kept, why = response.judge(filling.site, filling.content)
        if not kept then
            return give_up(filling.name, why, why == "another release" and RETRY_SECONDS or SKIP_SECONDS)
        end
        filling.kept = kept
    elseif var.gateway_cache_why == "not kept" then
        -- Still not to be kept? Then leave it so, as long as somebody asks.
        local skipped = ngx.ctx.skipped
        if skipped and not response.judge(skipped.site) then
            marks:set("skip:" .. skipped.name, true, SKIP_SECONDS)
        end
    end
end

local function keep(filling)
    local site, kept, body = filling.site, filling.kept, table.concat(filling.chunks)
    if kept.length and kept.length ~= #body then
        return give_up(filling.name, "cut off", RETRY_SECONDS)
    end
    local packed = gzip(body)
    local headers = kept.headers
    if packed then
        body = packed
        headers[#headers + 1] = {"Content-Encoding", "gzip"}
        for _, one in ipairs(headers) do
            -- The bytes are others, the page is the same.
            if one[1]:lower() == "etag" and one[2]:sub(1, 2) ~= "W/" then
                one[2] = "W/" .. one[2]
            end
        end
    end
    local head = {
        expires = filling.made + kept.seconds, made = filling.made, generation = filling.generation, n = filling.n, xmin = filling.xmin,
        began = filling.began, keys = site.mode == "tags" and feed.watched(site, kept.keys) or {}, headers = headers,
    }
    local blob = pack(head, body)
    local state = feed.state(site)
    -- Out of date already (a slow render, a change meanwhile): who waits would only render again, one after the other.
    if not state or not is_good(site, state, head) then
        return give_up(filling.name, "out of date", RETRY_SECONDS)
    end
    local stored = pages:set(filling.name, blob, kept.seconds)
    if not stored then
        return give_up(filling.name, "no room", SKIP_SECONDS)
    end
    marks:delete("fill:" .. filling.name)
    ngx.var.gateway_fill = ""
    store.set(filling.name, blob, kept.seconds)
end

local function body()
    if ngx.var.gateway_fill == "" then
        return
    end
    local filling, chunk = ngx.ctx.fill, ngx.arg[1]
    if not filling or not filling.kept then
        return
    end
    filling.size = filling.size + #chunk
    if filling.size > response.LONGEST_BODY then
        return give_up(filling.name, "large", SKIP_SECONDS)
    end
    filling.chunks[#filling.chunks + 1] = chunk
    if ngx.arg[2] then
        keep(filling)
    end
end

-- A request that ended before its page was kept: who waits for it goes on. Only if the client left is it worth that one of them tries again.
local function log()
    local name = ngx.var.gateway_fill
    if name ~= "" then
        if ngx.status ~= 499 then
            marks:set("skip:" .. name, true, RETRY_SECONDS)
        end
        marks:delete("fill:" .. name)
    end
end

-- A mistake in here may cost the cache, but not the site.
local function guarded(what)
    return function(...)
        local fine, why = pcall(what, ...)
        if not fine then
            ngx.log(ngx.ERR, why)
        end
    end
end

M.access, M.header, M.body, M.log = guarded(access), guarded(header), guarded(body), guarded(log)

return M
