-- wrk ... -- OCTETS: POST a body of so many octets.
function init(words)
  wrk.method = "POST"
  wrk.body = string.rep("x", tonumber(words[1]))
  wrk.headers["Content-Type"] = "application/octet-stream"
end
