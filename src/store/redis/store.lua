-- One verb of a store, in one atomic step. The rules are those of failures.rs, pushes.rs and throttle.rs.
--
-- KEYS[1] holds the user's failures, KEYS[2] the user's pushes, and where a step is spent, KEYS[3] that of the device.
-- All are in one slot.
-- ARGV[1] is the verb and ARGV[2] the number of the call, which the answer repeats; the verb's own arguments follow.
-- Times are milliseconds since 1970 as the caller's clock has them, below 2^53, where a number is exact. The server's
-- clock only ends what is over. A value that cannot be read is an error, and nobody passes by it.

local at = 2
local function text()
    at = at + 1
    return ARGV[at]
end
local function number()
    return tonumber(text())
end
local function whole(n)
    return string.format('%.0f', n)
end
local function answer(...)
    return { ARGV[2], ... }
end

-- What a record outlives its time by, so that the server's clock ends none early.
local MARGIN = 60 * 1000

-- Writes a value with its expiry. One that is there is never shortened, and one that is missing is set.
local function put(key, value, expiry)
    redis.call('SET', key, value, 'PX', whole(math.max(expiry + MARGIN, redis.call('PTTL', key))))
end
local function heal(key, expiry)
    if redis.call('PTTL', key) == -1 then
        redis.call('PEXPIRE', key, whole(expiry + MARGIN))
    end
end

local function read_throttle()
    local throttle = { forget_after = number(), few = number(), forget_few_after = number() }
    throttle.max_delay, throttle.lock_after, throttle.delays = number(), number(), {}
    for i = 1, number() do
        throttle.delays[i] = number()
    end
    return throttle
end
-- The table starts at no failure, and its last entry stands for all that follow.
local function delay_after(throttle, count)
    return throttle.delays[math.min(count + 1, #throttle.delays)]
end

local function read_failures()
    local value = redis.call('GET', KEYS[1])
    if not value then
        return { count = 0, last = 0, wait_until = 0, locked_out = false, numbers = '', none = true }
    end
    local count, last, wait_until, locked_out, numbers = string.match(value, '^(%d+) (%d+) (%d+) ([01])(.*)$')
    if not count or not string.match(numbers .. ' ', '^ [%d ]*$') then
        error('failures that cannot be read')
    end
    return {
        count = tonumber(count),
        last = tonumber(last),
        wait_until = tonumber(wait_until),
        locked_out = locked_out == '1',
        -- Of the calls that counted them, each after a space: the latest ones.
        numbers = numbers,
    }
end
-- How long they are remembered, unless they are a lock-out.
local function kept_for(failures, throttle)
    local few = failures.count < throttle.few and failures.wait_until == 0
    return few and throttle.forget_few_after or throttle.forget_after
end
local function write_failures(failures, throttle)
    local value = whole(failures.count) .. ' ' .. whole(failures.last) .. ' ' .. whole(failures.wait_until)
    value = value .. ' ' .. (failures.locked_out and '1' or '0') .. failures.numbers
    if failures.locked_out then
        -- Without an expiry, since time must not free whom only an administrator may.
        redis.call('SET', KEYS[1], value)
    else
        put(KEYS[1], value, kept_for(failures, throttle))
    end
end
local function attempt(failures, throttle, now)
    if not failures.locked_out and now - failures.last > kept_for(failures, throttle) then
        failures.count, failures.last, failures.wait_until, failures.numbers = 0, 0, 0, ''
    end
    -- A clock that was set back must not make a wait longer than any wait is.
    failures.wait_until = math.min(failures.wait_until, now + throttle.max_delay)
    if failures.locked_out or failures.count >= throttle.lock_after then
        failures.locked_out = true
        return 'locked_out'
    end
    if failures.wait_until > now then
        return 'throttled', failures.wait_until - now
    end
    failures.count = failures.count + 1
    failures.locked_out = failures.count >= throttle.lock_after
    failures.last = now
    local delay = delay_after(throttle, failures.count)
    failures.wait_until = delay == 0 and 0 or now + delay
    return 'admitted'
end
local function take_back(failures, throttle)
    -- A lock-out under a stricter throttle is not this one's to lift.
    local locked_elsewhere = failures.locked_out and failures.count ~= throttle.lock_after
    failures.count = math.max(failures.count - 1, 0)
    failures.locked_out = locked_elsewhere or failures.count >= throttle.lock_after
    local delay = delay_after(throttle, failures.count)
    failures.wait_until = delay == 0 and 0 or math.min(failures.wait_until, failures.last + delay)
end

-- So many calls that counted are known by their numbers: as many as are counted under any throttle.
local NUMBERS = 100

local function note(failures, number)
    failures.numbers = failures.numbers .. ' ' .. number
    if select(2, string.gsub(failures.numbers, ' ', '')) > NUMBERS then
        failures.numbers = string.gsub(failures.numbers, '^ %d+', '', 1)
    end
end
-- Whether it was there.
local function strike(failures, number)
    local numbers = failures.numbers .. ' '
    local from, to = string.find(numbers, ' ' .. number .. ' ', 1, true)
    if from then
        failures.numbers = string.sub(string.sub(numbers, 1, from - 1) .. string.sub(numbers, to), 1, -2)
    end
    return from ~= nil
end

-- What an attempt would be told now is asked of these; they are not written back.
local function peek_failures(throttle)
    local failures = read_failures()
    if not failures.none and not failures.locked_out then
        heal(KEYS[1], kept_for(failures, throttle))
    end
    return failures
end

-- Steps are as wide as a u64, and compared in halves, which are exact.
local function below(a, b)
    local high_a, high_b = tonumber(string.sub(a, 1, 10)), tonumber(string.sub(b, 1, 10))
    if high_a ~= high_b then
        return high_a < high_b
    end
    return tonumber(string.sub(a, 11)) < tonumber(string.sub(b, 11))
end

-- So many of which nobody knows whether the phone was asked count for one.
local UNCERTAIN_FOR_ONE = 4

local function read_pushes()
    local value = redis.call('GET', KEYS[2])
    if not value then
        return { count = 0, uncertain = 0, last = 0 }
    end
    local count, uncertain, last, rest = string.match(value, '^(%d+) (%d+) (%d+)(.*)$')
    if not count then
        error('pushes that cannot be read')
    end
    local pushes = { count = tonumber(count), uncertain = tonumber(uncertain), last = tonumber(last) }
    if rest ~= '' then
        local over_at, ticket, about, id = string.match(rest, '^ (%d+) (%x+) (%x+) (.*)$')
        if not over_at or #ticket ~= 32 or #about ~= 64 then
            error('pushes that cannot be read')
        end
        -- Without an id while the call that asks is under way.
        pushes.open = { over_at = tonumber(over_at), ticket = ticket, about = about, id = id }
    end
    return pushes
end
local function write_pushes(pushes, expiry)
    local value, open = whole(pushes.count) .. ' ' .. whole(pushes.uncertain) .. ' ' .. whole(pushes.last), pushes.open
    if open then
        value = value .. ' ' .. whole(open.over_at) .. ' ' .. open.ticket .. ' ' .. open.about .. ' ' .. open.id
    end
    put(KEYS[2], value, expiry)
end
-- An id that is asked for is never empty.
local function is_open(pushes, ticket, about, id, now)
    local open = pushes.open
    return open and open.ticket == ticket and open.about == about and open.id == id and open.over_at > now
end

local verbs = {}

-- Writes, reads and removes a key of its own, in all the ways in which the other verbs do.
function verbs.check()
    put(KEYS[1], ARGV[2], 0)
    local same = redis.call('GET', KEYS[1]) == ARGV[2]
    redis.call('PEXPIRE', KEYS[1], whole(MARGIN))
    local expires = redis.call('PTTL', KEYS[1]) > 0
    return answer(redis.call('DEL', KEYS[1]) == 1 and same and expires and 'checked' or 'not_kept')
end

-- What comes after the time are the numbers of attempts that nobody verified. Those that were counted are taken back;
-- each of them once, since its number goes with it.
function verbs.count()
    local throttle, now, failures = read_throttle(), number(), read_failures()
    for i = at + 1, #ARGV do
        if strike(failures, ARGV[i]) then
            take_back(failures, throttle)
        end
    end
    local word, wait = attempt(failures, throttle, now)
    if word == 'admitted' then
        note(failures, ARGV[2])
    end
    write_failures(failures, throttle)
    return answer(word, wait)
end

function verbs.peek()
    local throttle, now = read_throttle(), number()
    return answer(attempt(peek_failures(throttle), throttle, now))
end

function verbs.take_back()
    local throttle, failures, counted_by = read_throttle(), read_failures(), text()
    if not failures.none then
        -- That one, if it is still counted, and nobody takes it back again.
        if strike(failures, counted_by) then
            take_back(failures, throttle)
        end
        write_failures(failures, throttle)
    end
    return answer('taken_back')
end

function verbs.spend()
    local step, keep_until, now = text(), number(), number()
    local value = redis.call('GET', KEYS[3])
    if value then
        local kept, kept_until = string.match(value, '^(%d+) (%d+)$')
        if not kept or #kept ~= 20 then
            error('a spent step that cannot be read')
        end
        kept_until = tonumber(kept_until)
        if kept_until > now and not below(kept, step) then
            heal(KEYS[3], kept_until - now)
            return answer('replayed')
        end
        keep_until = math.max(keep_until, kept_until)
    end
    put(KEYS[3], step .. ' ' .. whole(keep_until), math.max(keep_until - now, 0))
    redis.call('DEL', KEYS[1], KEYS[2])
    return answer('fresh')
end

function verbs.clear_failures()
    redis.call('DEL', KEYS[1])
    return answer('cleared')
end

function verbs.begin()
    local throttle, now = read_throttle(), number()
    local word, wait = attempt(peek_failures(throttle), throttle, now)
    if word ~= 'admitted' then
        return answer(word, wait)
    end
    local ticket, about, joins = text(), text(), text() == '1'
    local budget, forget_after, starting_for, lifetime, expiry = number(), number(), number(), number(), number()
    local pushes = read_pushes()
    -- A clock that was set back must not make a wait longer than any wait is.
    pushes.last = math.min(pushes.last, now)
    local open = pushes.open
    if open and open.over_at > now then
        open.over_at = math.min(open.over_at, now + lifetime)
        write_pushes(pushes, expiry)
        if open.id ~= '' and joins and open.about == about then
            return answer('join', open.ticket, open.id, open.over_at)
        end
        return answer('already_pending', open.over_at - now)
    end
    pushes.open = nil
    if now - pushes.last > forget_after then
        pushes.count, pushes.uncertain = 0, 0
    end
    if pushes.count + math.floor(pushes.uncertain / UNCERTAIN_FOR_ONE) >= budget then
        write_pushes(pushes, expiry)
        return answer('budget_spent')
    end
    pushes.count, pushes.last = pushes.count + 1, now
    pushes.open = { over_at = now + math.min(starting_for, lifetime), ticket = ticket, about = about, id = '' }
    write_pushes(pushes, expiry)
    return answer('begun')
end

function verbs.keep()
    local ticket, id, over_at, expiry = text(), text(), number(), number()
    local pushes = read_pushes()
    local open = pushes.open
    if not open or open.ticket ~= ticket then
        heal(KEYS[2], expiry)
        return answer('gone')
    end
    open.id, open.over_at = id, over_at
    write_pushes(pushes, expiry)
    return answer('kept')
end

function verbs.find()
    local throttle, now, ticket, about, id, expiry = read_throttle(), number(), text(), text(), text(), number()
    local pushes = read_pushes()
    heal(KEYS[2], expiry)
    if not is_open(pushes, ticket, about, id, now) then
        return answer('unknown')
    end
    local word, wait = attempt(peek_failures(throttle), throttle, now)
    if word ~= 'admitted' then
        return answer(word, wait)
    end
    return answer('open')
end

function verbs.redeem()
    local found = verbs.find()
    if found[2] == 'open' then
        redis.call('DEL', KEYS[1], KEYS[2])
    end
    return found
end

-- `ended` is the verb: `end` is a word of the language.
function verbs.ended()
    local ticket, how, expiry = text(), text(), number()
    local pushes = read_pushes()
    if not pushes.open or pushes.open.ticket ~= ticket then
        heal(KEYS[2], expiry)
        return answer('ended')
    end
    if how ~= 'asked' then
        pushes.count = math.max(pushes.count - 1, 0)
    end
    if how == 'uncertain' then
        pushes.uncertain = pushes.uncertain + 1
    else
        pushes.open = nil
    end
    if pushes.count == 0 and pushes.uncertain == 0 and not pushes.open then
        redis.call('DEL', KEYS[2])
    else
        write_pushes(pushes, expiry)
    end
    return answer('ended')
end

function verbs.clear_pushes()
    redis.call('DEL', KEYS[2])
    return answer('cleared')
end

return verbs[ARGV[1]]()
