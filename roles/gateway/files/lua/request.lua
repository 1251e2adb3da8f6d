-- Managed by Ansible (role gateway). Which requests may be answered from the cache, and by what name a page is kept.
--
-- The name is all that the app is told: what could change the page but is not in the name is not sent to the app (see limit).
local M = {}

local LONGEST = 2000

-- Sent to the app though not in the name: an app that heeds one must say so in Vary, and then the page is not kept.
local NEGOTIATED = {["accept"] = true, ["accept-language"] = true, ["user-agent"] = true}
-- nginx needs these itself, and sends its own in their place.
local NGINX = {["host"] = true, ["connection"] = true, ["accept-encoding"] = true, ["keep-alive"] = true}
-- Who sends one of these asks for something else than a page that everybody gets.
local SPECIAL = {"origin", "x-requested-with", "hx-request", "turbo-frame", "x-pjax", "x-inertia", "x-up-version", "upgrade"}

local function starts_with(text, start)
    return text:sub(1, #start) == start
end

-- Names to sets, once.
function M.setup(site)
    local function set(list)
        local found = {}
        for _, name in ipairs(list) do
            found[name] = true
        end
        return found
    end
    site.argument_set, site.cookie_set, site.ignored_set, site.ignored_starts = set(site.arguments), set(site.cookies), {}, {}
    for _, name in ipairs(site.ignored_cookies) do
        if name:sub(-1) == "*" then
            table.insert(site.ignored_starts, name:sub(1, -2))
        else
            site.ignored_set[name] = true
        end
    end
    site.header_set, site.header_variables = {}, {}
    for number, name in ipairs(site.headers) do
        site.header_set[name:lower()] = true
        site.header_variables[number] = "http_" .. name:lower():gsub("-", "_")
    end
    site.everywhere = set(site.paths)["/"]
end

local function is_ignored(site, name)
    if site.ignored_set[name] then
        return true
    end
    for _, start in ipairs(site.ignored_starts) do
        if starts_with(name, start) then
            return true
        end
    end
    return false
end

-- The cookies that count, in the order of the contract; or nothing and the name of one that is not allowed.
local function counted_cookies(site, header)
    local values = {}
    for pair in header:gmatch("[^;]+") do
        local name, value = pair:match("^%s*([^=]-)%s*=%s*(.-)%s*$")
        if not name then
            if pair:find("%S") then
                return nil, "nameless"
            end
        elseif site.cookie_set[name] and not values[name] then
            values[name] = value
        elseif not is_ignored(site, name) then
            return nil, name
        end
    end
    local counted = {}
    for _, name in ipairs(site.cookies) do
        if values[name] then
            counted[#counted + 1] = name .. "=" .. values[name]
        end
    end
    return table.concat(counted, "; ")
end

local function is_below(site, target)
    if site.everywhere then
        return true
    end
    -- As it was sent and as nginx understood it: /open/../closed/ is not below /open/.
    local understood = ngx.var.uri
    for _, path in ipairs(site.paths) do
        if starts_with(target, path) and starts_with(understood, path) then
            return true
        end
    end
    return false
end

-- The page's name without the state's prefix, the cookies that count, whether it is a HEAD; or nothing and why the cache is not asked.
function M.name(site)
    local var = ngx.var
    -- GET or HEAD without a body or credentials: one look instead of four.
    local plain = var.gateway_plain
    if plain == "" then
        return nil, var.http_authorization and "Authorization" or "method or body"
    end
    local target = var.request_uri
    if #target > LONGEST then
        return nil, "long address"
    end
    if not is_below(site, target) then
        return nil, "path"
    end
    local query = target:find("?", 1, true)
    if query then
        -- Names as they are: one written with %xx is not in the list.
        for argument in target:sub(query + 1):gmatch("[^&]+") do
            local name = argument:match("^[^=]+")
            if not name or not site.argument_set[name] then
                return nil, "argument"
            end
        end
    end
    local cookies, foreign = "", nil
    if var.http_cookie then
        cookies, foreign = counted_cookies(site, var.http_cookie)
        if not cookies then
            return nil, "cookie " .. foreign
        elseif #cookies > LONGEST then
            return nil, "long cookies"
        end
    end
    local name = var.host .. "\n" .. target .. "\n" .. cookies
    for _, variable in ipairs(site.header_variables) do
        local value = var[variable] or ""
        if #value > LONGEST then
            return nil, "long header"
        end
        name = name .. "\n" .. value
    end
    return name, cookies, plain == "HEAD"
end

-- Have the app see no more of the request than its name says. Otherwise nothing is changed, and the reason comes back.
function M.limit(site, cookies)
    local headers, problem = ngx.req.get_headers(100)
    if problem then
        return "headers"
    end
    for _, name in ipairs(SPECIAL) do
        if headers[name] and not site.header_set[name] then
            return name
        end
    end
    -- Read now, since the log wants it later.
    local _ = ngx.var.gateway_logged_referer
    for name in pairs(headers) do
        if not (NGINX[name] or NEGOTIATED[name] or site.header_set[name]) then
            ngx.req.clear_header(name)
        end
    end
    if cookies ~= "" then
        ngx.req.set_header("Cookie", cookies)
    end
    -- In HTTP/2 a body needs no announcement.
    ngx.req.discard_body()
end

return M
