//! What Redis does for us in one step: storing what is newer, and noting changes.

use redis::Script;

/// Stores values unless something newer stands there. `KEYS`: the epoch, then names; `ARGV`: the epoch that the writer
/// trusts, then a value and its seconds to live for each name. Answers how many were stored, or -1 in another memory.
const PUT: &str = r"
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
local stored = 0
for i = 2, #KEYS do
  local value, ttl = ARGV[2 * i - 2], ARGV[2 * i - 1]
  local there = redis.call('GET', KEYS[i])
  local newer = true
  if there and #there >= 22 and string.byte(there, 1) == string.byte(value, 1) then
    local t0, v0, s0 = struct.unpack('>I4>i8>i8', there, 3)
    local t1, v1, s1 = struct.unpack('>I4>i8>i8', value, 3)
    if t0 ~= t1 then newer = t0 < t1 elseif v0 ~= v1 then newer = v0 < v1 else newer = s0 <= s1 end
  end
  if newer then
    redis.call('SET', KEYS[i], value, 'EX', ttl)
    stored = stored + 1
  end
end
return stored
";

/// Replaces older values by floors. `KEYS`: the epoch, then names; `ARGV`: how many seconds a floor is kept, then a floor
/// for each name. Answers the epoch of this memory, or nil.
const NOTE: &str = r"
for i = 2, #KEYS do
  local floor = ARGV[i]
  local there = redis.call('GET', KEYS[i])
  local older = true
  if there and #there >= 22 and string.byte(there, 1) == string.byte(floor, 1) then
    local t0, v0 = struct.unpack('>I4>i8', there, 3)
    local t1, v1 = struct.unpack('>I4>i8', floor, 3)
    if t0 ~= t1 then
      older = t0 < t1
    elseif v0 ~= v1 then
      older = v0 < v1
    else
      older = string.byte(there, 2) == 0
    end
  end
  if older then redis.call('SET', KEYS[i], floor, 'EX', ARGV[1]) end
end
return redis.call('GET', KEYS[1])
";

/// The scripts, with their digests.
#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) put: Script,
    pub(super) note: Script,
}

impl Default for Scripts {
    fn default() -> Self {
        Self { put: Script::new(PUT), note: Script::new(NOTE) }
    }
}
