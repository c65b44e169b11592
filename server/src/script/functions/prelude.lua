-- What functions find around them, where that differs from what scripts find. Runs once in the interpreter of functions.
--
-- While a library is loaded its code sees nothing but a table `redis` of its own, which can register functions.

local parts, host = ...
local pcall, setmetatable, getmetatable, pairs, type, error = pcall, setmetatable, getmetatable, pairs, type, error
local find = string.find
local attempt, globals, redis = parts.attempt, parts.globals, parts.redis
-- A library may keep `redis.call` from call to call: these look up what it is at the time.
local current_calls, lasting_call, lasting_pcall = current_calls, lasting_call, lasting_pcall

redis.breakpoint, redis.debug, redis.replicate_commands = nil, nil, nil
globals.__redis__err__handler = nil

local offered = { log = redis.log }
for name, value in pairs(redis) do
    if type(name) == 'string' and (find(name, '^LOG_') or find(name, '^REDIS_VERSION')) then
        offered[name] = value
    end
end
offered.register_function = parts.native(function(...)
    local problem = host.register(...)
    if problem then
        error({ err = 'ERR ' .. problem })
    end
end)
setmetatable(offered, parts.missing)
local while_loading = setmetatable({ redis = parts.protect(offered) }, parts.missing)
local seen = getmetatable(parts.environment)

local functions = {}

-- Runs the code of a library.
function functions.load(chunk)
    seen.__index = while_loading
    local ended, problem = pcall(chunk)
    seen.__index = globals
    return ended, problem
end

-- Calls a function.
function functions.call(callback, keys, arguments, to_call, to_pcall, dispatch)
    current_calls.call, current_calls.pcall = to_call, to_pcall
    local ended, value = attempt(function()
        return callback(keys, arguments)
    end, lasting_call, lasting_pcall, dispatch)
    current_calls.call, current_calls.pcall = nil, nil
    return ended, value
end

return functions
