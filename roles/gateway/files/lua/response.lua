-- Managed by Ansible (role gateway). Which answers of an app may be kept, and for how long.
local M = {}

M.LONGEST_BODY = 1024 * 1024
local LONGEST_KEYS = 4096

-- Not the page's: nginx makes them anew for each answer, or they were for the gateway only.
local DROPPED = {
    ["connection"] = true, ["keep-alive"] = true, ["transfer-encoding"] = true, ["content-length"] = true, ["date"] = true,
    ["server"] = true, ["age"] = true, ["x-cache"] = true, ["etag"] = true,
}

local function text(value)
    if type(value) == "table" then
        return table.concat(value, ",")
    end
    return value or ""
end

-- Directives of a header such as Cache-Control: {["max-age"] = "60", private = ""}
local function directives(value)
    local found = {}
    for part in text(value):lower():gmatch("[^,]+") do
        local name, argument = part:match("^%s*([^=%s]+)%s*=?%s*\"?([^\"]-)\"?%s*$")
        if name then
            found[name] = argument
        end
    end
    return found
end

-- How many seconds the answer may be kept, or nothing and why it may not.
local function lifetime(site, headers, surrogate_control)
    local control, surrogate = directives(headers["cache-control"]), directives(surrogate_control)
    for _, name in ipairs({"private", "no-store"}) do
        if control[name] or surrogate[name] then
            return nil, name
        end
    end
    local seconds = surrogate["max-age"]
    if not seconds then
        -- Browsers ask each time; a cache that cannot must not keep it.
        if control["no-cache"] then
            return nil, "no-cache"
        end
        seconds = control["s-maxage"] or control["max-age"]
        if not seconds and headers["expires"] then
            seconds = (ngx.parse_http_time(text(headers["expires"])) or 0) - ngx.time()
        end
    end
    seconds = math.min(site.seconds, tonumber(seconds or site.seconds) or 0)
    if seconds < 1 then
        return nil, "max-age"
    end
    return math.floor(seconds)
end

local function varies_beyond(site, vary)
    for name in text(vary):lower():gmatch("[^,%s]+") do
        if name ~= "accept-encoding" and name ~= "cookie" and not site.header_set[name] then
            return name
        end
    end
end

-- {seconds, headers, keys} of an answer that may be kept, or nothing and why it may not.
function M.judge(site, content)
    local var = ngx.var
    if ngx.status ~= 200 then
        return nil, "status " .. ngx.status
    end
    local sent, problem = ngx.resp.get_headers(100, true)
    if problem then
        return nil, "headers"
    end
    local headers = {}
    for name, value in pairs(sent) do
        headers[name:lower()] = value
    end
    if content and var.upstream_http_x_appliance_content ~= content then
        return nil, "another release"
    end
    if headers["set-cookie"] then
        return nil, "Set-Cookie"
    end
    if headers["content-encoding"] then
        return nil, "Content-Encoding"
    end
    local other = varies_beyond(site, headers["vary"])
    if other then
        return nil, "Vary: " .. other
    end
    local seconds, why = lifetime(site, headers, var.upstream_http_surrogate_control)
    if not seconds then
        return nil, why
    end
    local keys = var.upstream_http_surrogate_key or ""
    if site.mode == "tags" and not keys:find("%S") then
        return nil, "no Surrogate-Key"
    elseif #keys > LONGEST_KEYS then
        return nil, "long Surrogate-Key"
    end
    -- Its end must be known: an answer that was cut off is no page.
    local length = tonumber(var.upstream_http_content_length)
    if not length and (var.upstream_http_transfer_encoding or ""):lower() ~= "chunked" then
        return nil, "no length"
    elseif length and length > M.LONGEST_BODY then
        return nil, "large"
    end
    local kept = {}
    for name, value in pairs(sent) do
        if not DROPPED[name:lower()] then
            kept[#kept + 1] = {name, value}
        end
    end
    return {seconds = seconds, headers = kept, keys = keys, length = length, tag = headers["etag"]}
end

return M
