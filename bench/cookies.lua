-- wrk: each request is of the next session. The cookies stand in the file that SIDEGATE_BENCH_COOKIES names, one a line.
local requests = {}
local at = 0

function init(args)
  for cookie in io.lines(os.getenv('SIDEGATE_BENCH_COOKIES')) do
    wrk.headers['Cookie'] = cookie
    requests[#requests + 1] = wrk.format()
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end
