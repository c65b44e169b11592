-- What scripts find around them, made once per interpreter, before any script runs.
--
-- Tables that scripts must not change are shown through stand-ins, empty tables that look everything up in the table
-- behind them and refuse assignments. Functions that would see the difference know the stand-ins.
--
-- A function written here is shown as one of the host (`native`), so that it stays where errors are looked up when a script
-- ends with calling it. An error that it raises with a position is one of the script's line.
--
-- What `load` gathers is bounded here: the limits of the interpreter do not see it.

local host, most_bytes = ...
local getinfo = debug.getinfo
local rawget, rawset, next, type, error, select = rawget, rawset, next, type, error, select
local getmetatable, setmetatable, loadstring = getmetatable, setmetatable, loadstring
local getfenv, setfenv = getfenv, setfenv
local pcall, xpcall, tostring, tonumber, concat = pcall, xpcall, tostring, tonumber, table.concat
local gsub, find = string.gsub, string.find
-- Ends the script as one that needs too much memory.
local exhaust = host.natives.exhaust

local READONLY = 'Attempt to modify a readonly table'
local behind = {}
local shown = {}

-- The line of the script that runs, before a text; and the innermost function of the script.
local function innermost(from)
    for level = from, 250 do
        local info = getinfo(level, 'Sl')
        if not info then
            return nil
        end
        if info.what ~= 'C' and info.source ~= '=redis' and info.currentline > 0 then
            return info
        end
    end
end

-- The text of an error that a function of the host raises: with the line of the script that called it, unless that was `pcall`,
-- and by the name under which it was called.
local function worded(text, from)
    for level = from, 250 do
        local info = getinfo(level, 'Slf')
        if not info or info.func == pcall or info.func == xpcall then
            return (gsub(text, "^(bad argument #%d+ to )'[^']*'", "%1'?'"))
        end
        if info.what ~= 'C' and info.source ~= '=redis' and info.currentline > 0 then
            local called = getinfo(level - 1, 'n')
            if called.name and called.namewhat ~= 'method' then
                text = gsub(text, "^(bad argument #%d+ to )'[^']*'", "%1'" .. called.name .. "'")
            end
            return info.short_src .. ':' .. info.currentline .. ': ' .. text
        end
    end
    return text
end

local function reraise(problem)
    if type(problem) == 'string' and find(problem, '^redis:%d+: ') then
        local text = gsub(problem, '^redis:%d+: ', '', 1)
        problem = worded(text, 2)
    end
    error(problem, 0)
end

local function finish(ended, ...)
    if ended then
        return ...
    end
    reraise((...))
end

local function native(f)
    return native_of(function(...)
        return finish(pcall(f, ...))
    end)
end

local function refuse()
    error(READONLY, 2)
end

local function protect(original)
    local stand_in = setmetatable({}, { __index = original, __newindex = refuse, readonly = true })
    behind[stand_in] = original
    shown[#shown + 1] = stand_in
    return stand_in
end

local names = {
    'assert', 'collectgarbage', 'error', 'gcinfo', 'getfenv', 'ipairs', 'next', 'pairs', 'pcall', 'rawequal',
    'rawget', 'rawset',
    'select', 'setfenv', 'tonumber', 'tostring', 'type', 'unpack', 'xpcall', '_VERSION', 'coroutine',
}
local globals = {}
for _, name in ipairs(names) do
    globals[name] = _G[name]
end

local environment = setmetatable({}, { __index = globals, __newindex = refuse, readonly = true })
behind[environment] = globals
shown[#shown + 1] = environment
globals._G = environment
local missing = {
    __index = function(_, name)
        name = name == '_EnV' and '_ENV' or tostring(name)
        error("Script attempted to access nonexistent global variable '" .. name .. "'", 2)
    end,
}
setmetatable(globals, missing)
-- Shown in the place of metatables.
local stand_ins = { [missing] = protect({ __index = missing.__index }) }

coroutine.wrap = wrap_of(coroutine.wrap(function() end))

-- The type of an argument, or that there is none.
local function got(count, at, value)
    return count < at and 'no value' or type(value)
end

local function check_type(name, count, at, value, expected)
    if type(value) ~= expected then
        error('bad argument #' .. at .. " to '" .. name .. "' (" .. expected .. ' expected, got ' .. got(count, at, value) .. ')')
    end
end

-- Functions that look at tables.

function globals.next(...)
    local t, key = ...
    check_type('next', select('#', ...), 1, t, 'table')
    return next(behind[t] or t, key)
end

function globals.pairs(...)
    local t = ...
    t = behind[t] or t
    check_type('pairs', select('#', ...), 1, t, 'table')
    return next, t, nil
end

local function check_values(name, count, wanted)
    if count < wanted then
        error('bad argument #' .. count + 1 .. " to '" .. name .. "' (value expected)")
    end
end

function globals.rawget(...)
    local t, key = ...
    check_type('rawget', select('#', ...), 1, t, 'table')
    check_values('rawget', select('#', ...), 2)
    return rawget(behind[t] or t, key)
end

function globals.rawset(...)
    local t, key, value = ...
    check_type('rawset', select('#', ...), 1, t, 'table')
    check_values('rawset', select('#', ...), 3)
    if behind[t] or t == globals then
        error(READONLY, 0)
    end
    local changed = rawset(t, key, value)
    return changed
end

function globals.getmetatable(...)
    local t = ...
    if select('#', ...) == 0 then
        error("bad argument #1 to 'getmetatable' (value expected)")
    elseif type(t) == 'number' then
        -- It is the host's.
        return nil
    elseif not behind[t] then
        return getmetatable(t)
    end
    local meta = getmetatable(behind[t])
    if meta and not stand_ins[meta] then
        stand_ins[meta] = protect(meta)
    end
    return stand_ins[meta or behind]
end

function globals.setmetatable(...)
    local t, meta = ...
    check_type('setmetatable', select('#', ...), 1, t, 'table')
    if behind[t] then
        error(READONLY, 0)
    end
    if select('#', ...) == 1 or meta ~= nil and type(meta) ~= 'table' then
        error("bad argument #2 to 'setmetatable' (nil or table expected)")
    end
    if getmetatable(t) ~= nil then
        local ended, problem = pcall(setmetatable, t, meta)
        if not ended then
            error(problem)
        end
        return t
    end
    local changed = setmetatable(t, meta)
    return changed
end

-- As in Redis, of an error with a text that is what is given.
local function finish_pcall(ended, ...)
    if ended then
        return true, ...
    end
    local problem = ...
    if type(problem) == 'table' and type(rawget(problem, 'err')) == 'string' then
        problem = problem.err
    end
    return false, problem
end

function globals.pcall(...)
    if select('#', ...) == 0 then
        return false
    end
    return finish_pcall(pcall(...))
end

function globals.collectgarbage(what, ...)
    if what == nil or what == 'collect' or what == 'count' or what == 'step' then
        return collectgarbage(what, ...)
    elseif what == 'stop' or what == 'restart' or what == 'setpause' or what == 'setstepmul' then
        return 0
    end
    check_type('collectgarbage', 1, 1, type(what) == 'number' and tostring(what) or what, 'string')
    error("bad argument #1 to 'collectgarbage' (invalid option '" .. tostring(what) .. "')")
end

-- The function that a value says: a function, or the number of a level counted from the script's own.
local function function_of(value, name)
    if type(value) == 'function' then
        return value
    end
    local level = value == nil and 1 or tonumber(value)
    if not level then
        error("bad argument #1 to '" .. name .. "' (number expected, got " .. type(value) .. ')')
    elseif level < 0 then
        error("bad argument #1 to '" .. name .. "' (level must be non-negative)")
    end
    level = level - level % 1
    if level == 0 then
        return nil
    end
    local seen = 0
    for at = 2, 250 do
        local info = getinfo(at, 'Sf')
        if not info then
            break
        end
        if info.what ~= 'C' and info.what ~= 'tail' and info.source ~= '=redis' then
            seen = seen + 1
            if seen == level then
                return info.func
            end
        end
    end
    error("bad argument #1 to '" .. name .. "' (invalid level)")
end

-- Functions that are no script's have an environment of their own, which scripts do not see.
local function is_own(f)
    local info = getinfo(f, 'S')
    return info.what == 'C' or info.source == '=redis'
end

local shown_environment = environment

function globals.getfenv(value)
    local f = function_of(value, 'getfenv')
    local found = f and not is_own(f) and getfenv(f) or environment
    return found == environment and shown_environment or found
end

function globals.setfenv(...)
    local value, table = ...
    check_type('setfenv', select('#', ...), 2, table, 'table')
    local f = function_of(value, 'setfenv')
    if not f or is_own(f) then
        error("'setfenv' cannot change environment of given object")
    end
    return setfenv(f, table)
end

-- Functions that load code.

local CONCATENATIONS = 16

local function load_text(text, name)
    if text:byte(1) == 27 then
        return nil, 'compiled code is not loaded'
    end
    if host.concatenations(text) > CONCATENATIONS then
        return nil, 'too many concatenations in loaded code'
    end
    local refused = host.refused(text)
    if refused then
        return nil, refused
    end
    local made, message = loadstring(host.for_compiler(text), name or text)
    if made then
        setfenv(made, environment)
    end
    return made, message
end

function globals.loadstring(...)
    local text, name = ...
    if type(text) ~= 'number' then
        check_type('loadstring', select('#', ...), 1, text, 'string')
    end
    return load_text(tostring(text), name)
end

function globals.load(...)
    local reader, name = ...
    check_type('load', select('#', ...), 1, reader, 'function')
    local parts, bytes = {}, 0
    while true do
        local part = reader()
        if part == nil or part == '' then
            break
        end
        if type(part) ~= 'string' then
            return nil, 'reader function must return a string'
        end
        bytes = bytes + #part
        if bytes > most_bytes then
            exhaust()
        end
        parts[#parts + 1] = part
    end
    return load_text(concat(parts), name or '=(load)')
end

table.foreach, table.foreachi = function(...)
    local t, visit = ...
    check_type('foreach', select('#', ...), 1, t, 'table')
    check_type('foreach', select('#', ...), 2, visit, 'function')
    for key, value in globals.pairs(t) do
        local result = visit(key, value)
        if result ~= nil then
            return result
        end
    end
end, function(...)
    local t, visit = ...
    check_type('foreachi', select('#', ...), 1, t, 'table')
    check_type('foreachi', select('#', ...), 2, visit, 'function')
    for at = 1, #t do
        local result = visit(at, rawget(t, at))
        if result ~= nil then
            return result
        end
    end
end

local MOST_DRAWN = 2147483647
local floor = math.floor

local function integer(name, count, at, value)
    local number = tonumber(value)
    if not number then
        check_type(name, count, at, value, 'number')
    end
    return number < 0 and math.ceil(number) or floor(number)
end

function math.random(...)
    local drawn = host.draw() % MOST_DRAWN / MOST_DRAWN
    local count = select('#', ...)
    if count == 0 then
        return drawn
    end
    if count > 2 then
        error('wrong number of arguments')
    end
    local first, last = ...
    first = integer('random', count, 1, first)
    if count == 1 then
        first, last = 1, first
    else
        last = integer('random', count, 2, last)
    end
    if first > last then
        error('bad argument #' .. count .. " to 'random' (interval is empty)")
    end
    return floor(drawn * (last - first + 1)) + first
end

function math.randomseed(...)
    host.seed(integer('randomseed', select('#', ...), 1, (...)))
end

for _, name in ipairs({
    'next', 'pairs', 'rawget', 'rawset', 'getmetatable', 'setmetatable', 'getfenv', 'setfenv', 'collectgarbage', 'loadstring',
    'load',
}) do
    globals[name] = native(globals[name])
end
table.foreach, table.foreachi = native(table.foreach), native(table.foreachi)
math.random, math.randomseed = native(math.random), native(math.randomseed)

for _, name in ipairs({ 'string', 'table', 'math' }) do
    globals[name] = protect(_G[name])
end
for _, name in ipairs({ 'unpack', 'unpack_one', 'unpack_limit' }) do
    local library = host.libraries.cmsgpack
    library[name] = spread_of(library[name])
end
host.libraries.struct.unpack = spread_of(host.libraries.struct.unpack)
for name, library in pairs(host.libraries) do
    globals[name] = protect(library)
end
getmetatable('').__metatable = protect({ __index = globals.string })

-- What the server offers.

local redis, natives = host.redis, host.natives
redis.call, redis.pcall = natives.call, natives.pcall

-- Functions of the host answer a text where they fail, which is an error here.
for _, name in ipairs({ 'sha1hex', 'log', 'set_repl' }) do
    local function_of_host = host[name]
    redis[name] = native(function(...)
        local problem, value = function_of_host(...)
        if problem then
            error({ err = 'ERR ' .. problem })
        end
        return value
    end)
end

redis.setresp = native(function(...)
    if select('#', ...) ~= 1 then
        error({ err = 'ERR redis.setresp() requires one argument.' })
    end
    local version = tonumber((...)) or 0
    version = version < 0 and math.ceil(version) or math.floor(version)
    if version ~= 2 and version ~= 3 then
        error({ err = 'ERR RESP version must be 2 or 3.' })
    end
    natives.setresp(version)
end)

redis.acl_check_cmd = native(function(...)
    local failed, value = natives.may_call(...)
    if failed then
        error(value)
    end
    return value
end)

globals.redis = protect(redis)

-- Where an error was raised is where the innermost function of the script stood.
local function handler(problem)
    local info, raised_in = innermost(2), getinfo(3, 'S')
    -- The interpreter gives these no place; where a function of the host raises them they have none.
    local is_bare = raised_in and raised_in.what ~= 'C'
    if info and is_bare and (problem == 'table index is nil' or problem == 'table index is NaN') then
        problem = info.short_src .. ':' .. info.currentline .. ': ' .. problem
    end
    if type(problem) ~= 'table' then
        problem = { err = 'ERR ' .. tostring(problem) }
    end
    if info then
        problem.source, problem.line = info.source, info.currentline
    end
    return problem
end
globals.__redis__err__handler = handler

local control = {}

-- What is not there is not made. What is there could be overwritten: whoever is given the globals themselves must not
-- name it in an assignment.
missing.__newindex = refuse

function control.prepare(chunk, is_given_globals)
    natives.hand_over(setfenv(chunk, is_given_globals and globals or environment))
end

control.run = natives.run
control.collect = natives.collect

-- Raises a text of the host's at the script's line.
function control.fail(text)
    error(worded(text, 2), 0)
end

control.exhaust = exhaust

control.kept = { globals = globals, handler = handler, handle = natives.handle, shown = shown }
natives.remember(control.kept)

-- What the prelude of functions changes.
control.parts = {
    environment = environment, globals = globals, missing = missing, native = native, protect = protect, redis = redis,
    show_environment = function(other)
        shown_environment = other
    end,
}

return control
