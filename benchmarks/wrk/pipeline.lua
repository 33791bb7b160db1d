-- wrk ... -- NUMBER: send so many requests at once.
local octets

function init(words)
  local requests = {}
  for number = 1, tonumber(words[1]) do
    requests[number] = wrk.format()
  end
  octets = table.concat(requests)
end

function request()
  return octets
end
