-- Managed by Ansible (role gateway). The store that gateways share: a restarted gateway, or a second one, need not render again what another kept.
--
-- Just enough of both protocols: Debian's Lua clients for them want all of nginx-extras. Everything here may fail; then a page is rendered.
local M = {}
local marks = ngx.shared.gateway_marks

local REST_SECONDS = 1 -- without the store, once it failed: a miss must not wait for a time-out each time

local settings

function M.setup(store)
    settings = store
end

local function redis_sign_in(socket)
    local user, password = settings.username, settings.password
    socket:send(("*3\r\n$4\r\nAUTH\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n"):format(#user, user, #password, password))
    local line, why = socket:receive("*l")
    return line == "+OK", line or why
end

-- Only over a network; on one host the socket's group decides.
local function memcached_sign_in(socket)
    if settings.socket then
        return true
    end
    local credentials = settings.username .. " " .. settings.password
    socket:send({"set auth 0 0 ", #credentials, "\r\n", credentials, "\r\n"})
    local line, why = socket:receive("*l")
    return line == "STORED", line or why
end

local BACKENDS = {
    redis = {
        sign_in = redis_sign_in,
        get = function(socket, key)
            socket:send(("*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n"):format(#key, key))
            local line, why = socket:receive("*l")
            local length = tonumber((line or ""):match("^%$(%-?%d+)"))
            if not length then
                return nil, line or why
            elseif length < 0 then
                return ""
            end
            local value = socket:receive(length)
            return socket:receive(2) and value, "cut off"
        end,
        set = function(socket, key, value, seconds)
            seconds = tostring(seconds)
            socket:send({
                ("*5\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n"):format(#key, key, #value), value,
                ("\r\n$2\r\nEX\r\n$%d\r\n%s\r\n"):format(#seconds, seconds),
            })
            local line, why = socket:receive("*l")
            return line == "+OK", line or why
        end,
    },
    memcached = {
        sign_in = memcached_sign_in,
        get = function(socket, key)
            socket:send({"get ", key, "\r\n"})
            local line, why = socket:receive("*l")
            if line == "END" then
                return ""
            end
            local length = tonumber((line or ""):match("^VALUE %S+ %d+ (%d+)"))
            local value = length and socket:receive(length)
            return value and socket:receive(2) and socket:receive("*l") == "END" and value, line or why
        end,
        set = function(socket, key, value, seconds)
            socket:send({"set ", key, " 0 ", seconds, " ", #value, "\r\n", value, "\r\n"})
            local line, why = socket:receive("*l")
            return line == "STORED", line or why
        end,
    },
}

-- Run one command on a connection of its own or an idle one.
local function run(command, ...)
    if not settings or marks:get("store") then
        return nil
    end
    local backend = BACKENDS[settings.backend]
    local socket = ngx.socket.tcp()
    socket:settimeouts(100, 200, 200)
    local done, why
    if settings.socket then
        done, why = socket:connect("unix:" .. settings.socket)
    else
        done, why = socket:connect(settings.host, settings.port)
    end
    if done and socket:getreusedtimes() == 0 then
        if settings.ca then
            done, why = socket:sslhandshake(nil, settings.server_name, true)
        end
        if done then
            done, why = backend.sign_in(socket)
        end
    end
    local result
    if done then
        result, why = backend[command](socket, ...)
        if result then
            socket:setkeepalive(30000, 32)
            return result
        end
        socket:close()
    end
    if marks:add("store", true, REST_SECONDS) then
        ngx.log(ngx.WARN, "the shared store of pages does not answer: ", why)
    end
end

-- Short, whatever the page's key is, and of letters that every store takes.
local function address(key)
    return "pages:" .. ngx.encode_base64(ngx.sha1_bin(key), true)
end

-- Signed: a page that somebody else put there would be served to everybody. The page's key is signed too, so none can be moved.
local function signature(key, value)
    return ngx.hmac_sha1(settings.password, key .. "\0" .. value)
end

function M.get(key)
    local value = run("get", address(key))
    if value and #value > 20 and value:sub(1, 20) == signature(key, value:sub(21)) then
        return value:sub(21)
    end
end

-- In a timer, since the filters of a response may open no connection.
function M.set(key, value, seconds)
    -- nginx drops timers, of the feed too, when a worker runs more than 256: a store that hangs must not have them all.
    if settings and ngx.timer.running_count() < 64 then
        ngx.timer.at(0, function(premature)
            if not premature then
                run("set", address(key), signature(key, value) .. value, seconds)
            end
        end)
    end
end

return M
