-- The load: one request over and over, with the key; prints what was seen as JSON.
function init(args)
  if #args[1] > 0 then wrk.headers["Authorization"] = "Bearer " .. args[1] end
  if #args > 1 and #args[2] > 0 then
    wrk.method = "POST"
    wrk.body = args[2]
    wrk.headers["Content-Type"] = "application/json"
  end
end

function done(summary, latency, requests)
  local e = summary.errors
  print(string.format('result {"requests":%d,"seconds":%.6f,"failed":%d,"p50":%d,"p95":%d,"p99":%d}',
    summary.requests, summary.duration / 1e6, e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50), latency:percentile(95), latency:percentile(99)))
end
