-- One operation of a store, in one atomic step. The rules are those of failures.rs, approval_record.rs and throttle.rs.
--
-- KEYS[1] contains the user's failures, KEYS[2] the user's approvals, and for record_step KEYS[3] the step of the
-- device. All keys are in one slot.
-- ARGV[1] is the operation and ARGV[2] the number of the call, which the reply repeats. The arguments follow.
-- Times are milliseconds since 1970 by the caller's clock, below 2^53, where numbers are exact. The server's clock only
-- expires keys. A value that cannot be parsed is an error, so it grants no request.

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
local function reply(...)
    return { ARGV[2], ... }
end

-- How long a key remains after its record expired, so that the server's clock ends no record early.
local MARGIN = 60 * 1000

-- Sets a value and its expiry. It never shortens an expiry, and adds a missing one.
local function put(key, value, expiry)
    redis.call('SET', key, value, 'PX', whole(math.max(expiry + MARGIN, redis.call('PTTL', key))))
end
local function ensure_expiry(key, expiry)
    if redis.call('PTTL', key) == -1 then
        redis.call('PEXPIRE', key, whole(expiry + MARGIN))
    end
end

local function read_throttle()
    local throttle = { ttl = number(), small_count = number(), small_count_ttl = number() }
    throttle.lock_after, throttle.delays = number(), {}
    throttle.max_recent, throttle.recent_interval = number(), number()
    for i = 1, number() do
        throttle.delays[i] = number()
    end
    return throttle
end
-- The table starts at zero failures, and its last entry applies to all further failures.
local function delay_after(throttle, count)
    return throttle.delays[math.min(count + 1, #throttle.delays)]
end

local function read_failures()
    local value = redis.call('GET', KEYS[1])
    if not value then
        return {
            count = 0, last = 0, wait_until = 0, locked_out = false, recent = 0, recent_since = 0, numbers = '',
            none = true,
        }
    end
    local count, last, wait_until, locked_out, recent, recent_since, numbers =
        string.match(value, '^(%d+) (%d+) (%d+) ([01]) (%d+) (%d+)(.*)$')
    if not count or not string.match(numbers .. ' ', '^ [%d ]*$') then
        error('invalid failures')
    end
    return {
        count = tonumber(count),
        last = tonumber(last),
        wait_until = tonumber(wait_until),
        locked_out = locked_out == '1',
        recent = tonumber(recent),
        recent_since = tonumber(recent_since),
        -- The numbers of the latest calls that counted an attempt, each after a space.
        numbers = numbers,
    }
end
-- How long failures are stored, unless they are a lock-out.
local function ttl_of(failures, throttle)
    local small = failures.count < throttle.small_count and failures.wait_until == 0
    return small and throttle.small_count_ttl or throttle.ttl
end
local function write_failures(failures, throttle)
    local value = whole(failures.count) .. ' ' .. whole(failures.last) .. ' ' .. whole(failures.wait_until)
    value = value .. ' ' .. (failures.locked_out and '1' or '0')
    value = value .. ' ' .. whole(failures.recent) .. ' ' .. whole(failures.recent_since) .. failures.numbers
    if failures.locked_out then
        -- Without an expiry, because only an administrator may unlock the account.
        redis.call('SET', KEYS[1], value)
    else
        put(KEYS[1], value, ttl_of(failures, throttle))
    end
end
-- The word of the reply to a factor that cannot be guessed: a delay or a lock-out applies, or not.
local function check_other_factor(failures, throttle, now)
    if not failures.locked_out and now - failures.last > ttl_of(failures, throttle) then
        failures.count, failures.last, failures.wait_until, failures.numbers = 0, 0, 0, ''
        failures.recent, failures.recent_since = 0, 0
    end
    -- If the clock was set back, the delay is not longer than that of the failures.
    failures.wait_until = math.min(failures.wait_until, now + delay_after(throttle, failures.count))
    if failures.locked_out or failures.count >= throttle.lock_after then
        failures.locked_out = true
        return 'locked_out'
    end
    if failures.wait_until > now then
        return 'throttled', failures.wait_until - now
    end
    return 'admitted'
end
-- Removes one recent failure for each interval that has passed.
local function expire_recent(failures, throttle, now)
    if failures.recent_since > now then
        -- If the clock was set back, the interval begins again.
        failures.recent_since = now
    end
    local expired = math.floor((now - failures.recent_since) / throttle.recent_interval)
    if expired >= failures.recent then
        failures.recent = 0
    else
        failures.recent = failures.recent - expired
        failures.recent_since = failures.recent_since + expired * throttle.recent_interval
    end
end
local function try_record(failures, throttle, now)
    local word, wait = check_other_factor(failures, throttle, now)
    if word == 'locked_out' then
        return word
    end
    expire_recent(failures, throttle, now)
    local over = failures.recent + 1 - throttle.max_recent
    if over > 0 then
        local until_one_expires = failures.recent_since + throttle.recent_interval * over - now
        return 'throttled', math.max(wait or 0, until_one_expires)
    end
    if word ~= 'admitted' then
        return word, wait
    end
    if failures.recent == 0 then
        failures.recent_since = now
    end
    failures.recent = failures.recent + 1
    failures.count = failures.count + 1
    failures.locked_out = failures.count >= throttle.lock_after
    failures.last = now
    local delay = delay_after(throttle, failures.count)
    failures.wait_until = delay == 0 and 0 or now + delay
    return 'admitted'
end
local function release(failures, throttle)
    -- A success has released the attempt.
    if failures.count > 0 then
        failures.recent = math.max(failures.recent - 1, 0)
    end
    -- A lock-out under a stricter throttle remains.
    local locked_elsewhere = failures.locked_out and failures.count ~= throttle.lock_after
    failures.count = math.max(failures.count - 1, 0)
    failures.locked_out = locked_elsewhere or failures.count >= throttle.lock_after
    local delay = delay_after(throttle, failures.count)
    failures.wait_until = delay == 0 and 0 or math.min(failures.wait_until, failures.last + delay)
end

-- All recent failures expire within this time.
local RECENT_TTL = 30 * 24 * 60 * 60 * 1000

-- Deletes the failures in a row and the approvals after a success. Recent failures remain, except for the attempt that
-- was right, if it was counted.
local function succeed(counted)
    redis.call('DEL', KEYS[2])
    local failures = read_failures()
    if counted and failures.count > 0 then
        failures.recent = math.max(failures.recent - 1, 0)
    end
    if failures.recent == 0 then
        redis.call('DEL', KEYS[1])
        return
    end
    failures.count, failures.wait_until, failures.locked_out, failures.numbers = 0, 0, false, ''
    local value = '0 ' .. whole(failures.last) .. ' 0 0 ' .. whole(failures.recent)
    value = value .. ' ' .. whole(failures.recent_since)
    redis.call('SET', KEYS[1], value, 'KEEPTTL')
    -- A lock-out had no expiry.
    ensure_expiry(KEYS[1], RECENT_TTL)
end

-- The maximum of call numbers in the record: no throttle counts more failures.
local MAX_NUMBERS = 100

local function add_number(failures, number)
    failures.numbers = failures.numbers .. ' ' .. number
    if select(2, string.gsub(failures.numbers, ' ', '')) > MAX_NUMBERS then
        failures.numbers = string.gsub(failures.numbers, '^ %d+', '', 1)
    end
end
-- Removes the number of a call. Returns whether the record contained it.
local function remove_number(failures, number)
    local numbers = failures.numbers .. ' '
    local from, to = string.find(numbers, ' ' .. number .. ' ', 1, true)
    if from then
        failures.numbers = string.sub(string.sub(numbers, 1, from - 1) .. string.sub(numbers, to), 1, -2)
    end
    return from ~= nil
end

-- Reads failures that are not written back.
local function peek_failures(throttle)
    local failures = read_failures()
    if not failures.none and not failures.locked_out then
        ensure_expiry(KEYS[1], ttl_of(failures, throttle))
    end
    return failures
end

-- Compares steps of 64 bits in halves, which are exact numbers.
local function is_below(a, b)
    local high_a, high_b = tonumber(string.sub(a, 1, 10)), tonumber(string.sub(b, 1, 10))
    if high_a ~= high_b then
        return high_a < high_b
    end
    return tonumber(string.sub(a, 11)) < tonumber(string.sub(b, 11))
end

-- The number of approvals with an uncertain end that count as one.
local UNCERTAIN_PER_ONE = 4

local function read_approvals()
    local value = redis.call('GET', KEYS[2])
    if not value then
        return { count = 0, uncertain = 0, last = 0 }
    end
    local count, uncertain, last, rest = string.match(value, '^(%d+) (%d+) (%d+)(.*)$')
    if not count then
        error('invalid approvals')
    end
    local approvals = { count = tonumber(count), uncertain = tonumber(uncertain), last = tonumber(last) }
    if rest ~= '' then
        local expires_at, key, binding_hash, id = string.match(rest, '^ (%d+) (%x+) (%x+) (.*)$')
        if not expires_at or #key ~= 32 or #binding_hash ~= 64 then
            error('invalid approvals')
        end
        -- The id is empty while the verifier requests the approval.
        approvals.open = { expires_at = tonumber(expires_at), key = key, binding_hash = binding_hash, id = id }
    end
    return approvals
end
local function write_approvals(approvals, expiry)
    local value = whole(approvals.count) .. ' ' .. whole(approvals.uncertain) .. ' ' .. whole(approvals.last)
    local open = approvals.open
    if open then
        value = value .. ' ' .. whole(open.expires_at) .. ' ' .. open.key .. ' ' .. open.binding_hash .. ' ' .. open.id
    end
    put(KEYS[2], value, expiry)
end
-- The id in the arguments is never empty.
local function is_pending(approvals, key, binding_hash, id, now)
    local open = approvals.open
    return open and open.key == key and open.binding_hash == binding_hash and open.id == id and open.expires_at > now
end

local operations = {}

-- Sets, reads and deletes a key of its own, with all commands that the other operations use.
function operations.check()
    put(KEYS[1], ARGV[2], 0)
    local same = redis.call('GET', KEYS[1]) == ARGV[2]
    redis.call('PEXPIRE', KEYS[1], whole(MARGIN))
    local expires = redis.call('PTTL', KEYS[1]) > 0
    return reply(redis.call('DEL', KEYS[1]) == 1 and same and expires and 'checked' or 'not_stored')
end

-- The arguments after the time are the numbers of attempts that are never verified. Those that were counted are
-- released, each at most once, because its number is removed.
function operations.count_attempt()
    local throttle, now, failures = read_throttle(), number(), read_failures()
    for i = at + 1, #ARGV do
        if remove_number(failures, ARGV[i]) then
            release(failures, throttle)
        end
    end
    local word, wait = try_record(failures, throttle, now)
    if word == 'admitted' then
        add_number(failures, ARGV[2])
    end
    write_failures(failures, throttle)
    return reply(word, wait)
end

function operations.peek()
    local throttle, now = read_throttle(), number()
    return reply(check_other_factor(peek_failures(throttle), throttle, now))
end

function operations.release_attempt()
    local throttle, failures, counted_by = read_throttle(), read_failures(), text()
    if not failures.none then
        -- Releases that attempt if it is still counted, and at most once.
        if remove_number(failures, counted_by) then
            release(failures, throttle)
        end
        write_failures(failures, throttle)
    end
    return reply('released')
end

function operations.record_step()
    local step, keep_until, now = text(), number(), number()
    local value = redis.call('GET', KEYS[3])
    if value then
        local kept, kept_until = string.match(value, '^(%d+) (%d+)$')
        if not kept or #kept ~= 20 then
            error('invalid step')
        end
        kept_until = tonumber(kept_until)
        if kept_until > now and not is_below(kept, step) then
            ensure_expiry(KEYS[3], kept_until - now)
            return reply('replayed')
        end
        keep_until = math.max(keep_until, kept_until)
    end
    put(KEYS[3], step .. ' ' .. whole(keep_until), math.max(keep_until - now, 0))
    succeed(true)
    return reply('fresh')
end

function operations.clear()
    local failures, approvals = text() == '1', text() == '1'
    if failures and approvals then
        succeed(true)
    elseif failures then
        redis.call('DEL', KEYS[1])
    elseif approvals then
        redis.call('DEL', KEYS[2])
    end
    return reply('cleared')
end

function operations.begin_approval()
    local throttle, now = read_throttle(), number()
    local word, wait = check_other_factor(peek_failures(throttle), throttle, now)
    if word ~= 'admitted' then
        return reply(word, wait)
    end
    local key, binding_hash, joins = text(), text(), text() == '1'
    local limit, reset_after, request_timeout, lifetime, expiry = number(), number(), number(), number(), number()
    local approvals = read_approvals()
    -- If the clock was set back, no approval is pending longer than its lifetime.
    approvals.last = math.min(approvals.last, now)
    local open = approvals.open
    if open and open.expires_at > now then
        open.expires_at = math.min(open.expires_at, now + lifetime)
        write_approvals(approvals, expiry)
        if open.id ~= '' and joins and open.binding_hash == binding_hash then
            return reply('join', open.key, open.id, open.expires_at)
        end
        return reply('already_pending', open.expires_at - now)
    end
    approvals.open = nil
    if now - approvals.last > reset_after then
        approvals.count, approvals.uncertain = 0, 0
    end
    if approvals.count + math.floor(approvals.uncertain / UNCERTAIN_PER_ONE) >= limit then
        write_approvals(approvals, expiry)
        return reply('limit_reached')
    end
    approvals.count, approvals.last = approvals.count + 1, now
    local expires_at = now + math.min(request_timeout, lifetime)
    approvals.open = { expires_at = expires_at, key = key, binding_hash = binding_hash, id = '' }
    write_approvals(approvals, expiry)
    return reply('begun')
end

function operations.set_approval_id()
    local key, id, expires_at, expiry = text(), text(), number(), number()
    local approvals = read_approvals()
    local open = approvals.open
    if not open or open.key ~= key then
        ensure_expiry(KEYS[2], expiry)
        return reply('gone')
    end
    open.id, open.expires_at = id, expires_at
    write_approvals(approvals, expiry)
    return reply('set')
end

function operations.find_approval()
    local throttle, now, key, binding_hash, id, expiry = read_throttle(), number(), text(), text(), text(), number()
    local approvals = read_approvals()
    ensure_expiry(KEYS[2], expiry)
    if not is_pending(approvals, key, binding_hash, id, now) then
        return reply('unknown')
    end
    local word, wait = check_other_factor(peek_failures(throttle), throttle, now)
    if word ~= 'admitted' then
        return reply(word, wait)
    end
    return reply('found')
end

function operations.redeem_approval()
    local found = operations.find_approval()
    if found[2] == 'found' then
        succeed(false)
    end
    return found
end

function operations.end_approval()
    local key, reason, expiry = text(), text(), number()
    local approvals = read_approvals()
    if not approvals.open or approvals.open.key ~= key then
        ensure_expiry(KEYS[2], expiry)
        return reply('ended')
    end
    if reason ~= 'sent' then
        approvals.count = math.max(approvals.count - 1, 0)
    end
    if reason == 'uncertain' then
        approvals.uncertain = approvals.uncertain + 1
    else
        approvals.open = nil
    end
    if approvals.count == 0 and approvals.uncertain == 0 and not approvals.open then
        redis.call('DEL', KEYS[2])
    else
        write_approvals(approvals, expiry)
    end
    return reply('ended')
end

return operations[ARGV[1]]()
