-- What functions find around them, where that differs from what scripts find. Runs once in the interpreter of functions.
--
-- While a library is loaded its code sees nothing but a table `redis` of its own, which can register functions.

local parts, host = ...
local pcall, setmetatable, getmetatable, pairs, type, error = pcall, setmetatable, getmetatable, pairs, type, error
local find = string.find
local globals, redis = parts.globals, parts.redis

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
-- As in Redis, the environment of functions is not `_G`: a table without anything in it, before which that one stands.
parts.show_environment(parts.protect(setmetatable({}, { __index = parts.environment })))

-- Runs the code of a library.
return function(chunk)
    seen.__index = while_loading
    local ended, problem = pcall(chunk)
    seen.__index = globals
    return ended, problem
end
