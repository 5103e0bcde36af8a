package script

import (
	"fmt"
	"strings"
	"testing"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// noon is the time in the box, unless a test needs it to pass.
func noon() time.Time { return time.Date(2024, 3, 1, 12, 0, 0, 0, time.UTC) }

var shop = map[string]any{
	"kind":     "Boat",
	"metadata": map[string]any{"name": "dory", "generation": int64(4)},
	"spec":     map[string]any{"oars": float64(2), "paused": false},
	"status": map[string]any{
		"phase":      "Afloat",
		"nothing":    nil,
		"conditions": []any{map[string]any{"type": "Ready", "status": "True", "message": "all set"}, map[string]any{"type": "Dry", "status": "False"}},
	},
}

func run(source string, open bool, clock func() time.Time) (Answer, error) {
	program, err := Compile(source, open)
	if err != nil {
		return Answer{}, fmt.Errorf("compile: %w", err)
	}
	return program.Run(shop, clock)
}

func TestAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		source string
		want   Answer
	}{
		"a status":                   {`return {status = "Healthy", message = "fine"}`, Answer{Status: "Healthy", Message: "fine"}},
		"the object":                 {`return {status = obj.status.phase, message = obj.kind .. " " .. obj.metadata.generation}`, Answer{Status: "Afloat", Message: "Boat 4"}},
		"a list":                     {`for i, c in ipairs(obj.status.conditions) do if c.status == "False" then return {status = c.type} end end`, Answer{Status: "Dry"}},
		"the length of a list":       {`return {status = "n" .. #obj.status.conditions}`, Answer{Status: "n2"}},
		"null is absent":             {`return {status = tostring(obj.status.nothing)}`, Answer{Status: "nil"}},
		"names in any case":          {`return {Status = "Healthy", MESSAGE = "fine"}`, Answer{Status: "Healthy", Message: "fine"}},
		"the exact name wins":        {`return {STATUS = "Degraded", status = "Healthy"}`, Answer{Status: "Healthy"}},
		"no status":                  {`return {message = "fine"}`, Answer{Message: "fine"}},
		"nil":                        {`return nil`, Answer{Silent: true}},
		"nothing":                    {`local a = 1`, Answer{Silent: true}},
		"an empty table":             {`return {}`, Answer{Silent: true}},
		"a list as answer":           {`return {"Healthy"}`, Answer{Silent: true}},
		"a number as message":        {`return {status = "Healthy", message = 3}`, Answer{Silent: true}},
		"other keys":                 {`return {status = "Healthy", depth = {1, 2}}`, Answer{Status: "Healthy"}},
		"the last of several values": {`return 1, {status = "Healthy"}`, Answer{Status: "Healthy"}},
		"global names":               {`hs = {}; hs.status = "Healthy"; return hs`, Answer{Status: "Healthy"}},
		"goto": {`local s = "none"
			for _, c in ipairs(obj.status.conditions) do
				if c.type ~= "Dry" then goto continue end
				s = c.type
				::continue::
			end
			return {status = s}`, Answer{Status: "Dry"}},
		"a caught error":          {`local ok, why = pcall(function() return obj.nope.nope end); return {status = tostring(ok)}`, Answer{Status: "false"}},
		"text without libraries":  {`return {status = tostring(string == nil and math == nil)}`, Answer{Status: "true"}},
		"printing is silent":      {`print("x"); return {status = "Healthy"}`, Answer{Status: "Healthy"}},
		"the time":                {`return {status = tostring(os.time())}`, Answer{Status: "1709294400"}},
		"a given time":            {`return {status = tostring(os.time{year=2024, month=3, day=1, hour="12", min=0, sec=1})}`, Answer{Status: "1709294401"}},
		"a date":                  {`return {status = os.date("!%Y-%m-%d %H:%M:%S %a %j %% %w %Q", 0)}`, Answer{Status: "1970-01-01 00:00:00 Thu 001 % 4 %Q"}},
		"the date of now":         {`return {status = os.date("%F")}`, Answer{Status: "2024-03-01"}},
		"a date in parts":         {`local d = os.date("*t"); return {status = d.year .. "-" .. d.yday}`, Answer{Status: "2024-61"}},
		"the required os":         {`local os = require("os"); return {status = os.date("%Y")}`, Answer{Status: "2024"}},
		"joining numbers":         {`return {status = 1 .. 2 .. "." .. 0.5}`, Answer{Status: "12.0.5"}},
		"joining calls":           {`local function two() return "a", "b" end; return {status = two() .. two()}`, Answer{Status: "aa"}},
		"joining by metamethod":   {`local m = setmetatable({}, {__concat = function(a, b) return (type(a) == "table" and "T" or a) .. (type(b) == "table" and "T" or b) end}); return {status = "<" .. m .. ">"}`, Answer{Status: "<T>"}},
		"computed keys":           {`local k = "sta" .. "tus"; local hs = {}; hs[k] = "Healthy"; return hs`, Answer{Status: "Healthy"}},
		"computed in constructor": {`local k = "status"; return {[k] = "Healthy", [1 .. "x"] = "y"}`, Answer{Status: "Healthy"}},
		"list by index":           {`local l = {}; for i = 1, 5 do l[i] = i * i end; l[#l + 1] = "e"; return {status = table.concat(l, ",")}`, Answer{Status: "1,4,9,16,25,e"}},
		"swapping":                {`local l = {"a", "b"}; l[1], l[2] = l[2], l[1]; return {status = l[1] .. l[2]}`, Answer{Status: "ba"}},
		"order of an assignment":  {`local i, l = 1, {}; i, l[i] = i + 1, "x"; return {status = tostring(l[1]) .. i}`, Answer{Status: "x2"}},
		"several from a call":     {`local l = {}; local function two() return "p", "q" end; l[1], l[2] = two(); return {status = l[1] .. l[2]}`, Answer{Status: "pq"}},
		"varargs":                 {`local function f(...) local l = {}; l[1] = ...; l[2] = select("#", ...); return l end; local l = f("a", "b"); return {status = l[1] .. l[2]}`, Answer{Status: "a2"}},
		"newindex":                {`local seen = ""; local m = setmetatable({}, {__newindex = function(_, k, v) seen = k .. v end}); local k = "a"; m[k] = "b"; return {status = seen}`, Answer{Status: "ab"}},
		"insert and remove":       {`local l = {"b"}; table.insert(l, 1, "a"); table.insert(l, "c"); local gone = table.remove(l, 2); return {status = table.concat(l) .. gone .. table.getn(l) .. table.maxn(l)}`, Answer{Status: "acb22"}},
		"sort":                    {`local l = {3, 1, 2}; table.sort(l); local s = table.concat(l); table.sort(l, function(a, b) return a > b end); return {status = s .. table.concat(l)}`, Answer{Status: "123321"}},
		"unpack":                  {`local a, b = unpack({"x", "y"}); return {status = a .. b}`, Answer{Status: "xy"}},
		"methods":                 {`local t = {n = "x"}; function t:name(s) return self.n .. s end; function t.other() return "o" end; return {status = t:name("y") .. t.other()}`, Answer{Status: "xyo"}},
		"loops":                   {`local n = 0; while n < 3 do n = n + 1 end; repeat n = n + 1 until n > 5; for i = 10, 1, -3 do n = n + i end; return {status = tostring(-n) .. tostring(not n)}`, Answer{Status: "-28false"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := run(c.source, false, noon)
			if err != nil || got != c.want {
				t.Errorf("got %+v, %v; want %+v", got, err, c.want)
			}
		})
	}
}

func TestOpenLibraries(t *testing.T) {
	for source, want := range map[string]string{
		`string.upper("a") .. ("B"):lower() .. string.len("abc") .. ("abc"):reverse()`:                                           "Ab3cba",
		`("hello"):sub(2, -2) .. ("hello"):sub(-3) .. ("hello"):sub(0, 2) .. ("x"):sub(5)`:                                       "elllloh" + "e",
		`string.char(65, 66) .. string.byte("C") .. select("#", string.byte("abc", 1, -1))`:                                      "AB673",
		`string.rep("ab", 3) .. string.rep("x", -1)`:                                                                             "ababab",
		`string.format("%5.1f|%-4d|%03d|%x|%s|%q|%%|%c", 3.14159, 7, 7, 255, "s", 'a"b', 65)`:                                    "  3.1|7   |007|ff|s|\"a\\\"b\"|%|A",
		`table.concat({string.find("hello world", "o w")}, ",")`:                                                                 "5,7",
		`table.concat({string.find("a.b", ".", 1, true)}, ",")`:                                                                  "2,2",
		`table.concat({string.find("key = value", "(%w+) = (%w+)")}, ",")`:                                                       "1,11,key,value",
		`tostring(string.find("abc", "x"))`:                                                                                      "nil",
		`string.match("2024-03-01T10:00:00Z", "(%d+)-(%d+)")`:                                                                    "2024",
		`string.match("v1.2.3", "^v([%d.]+)$")`:                                                                                  "1.2.3",
		`string.match("f(a(b)c)", "%b()")`:                                                                                       "(a(b)c)",
		`string.match("THE (quick) fox", "%f[%a]%a+", 5)`:                                                                        "quick",
		`string.match("aa bb", "(%a)%1", 3)`:                                                                                     "b",
		`tostring(string.match("hello", "()ll"))`:                                                                                "3",
		`string.gsub("ERROR, no", "ERROR, ", "")`:                                                                                "no",
		`string.gsub("hello", "l", {l = "L"})`:                                                                                   "heLLo",
		`string.gsub("hello", "(h)(e)", "%2%1%0")`:                                                                               "ehhello",
		`string.gsub("abc", "%w", function(c) if c ~= "b" then return c .. c end end)`:                                           "aabcc",
		`string.gsub("abc", "", "-")`:                                                                                            "-a-b-c-",
		`string.gsub("aaa", "a", "b", 2)`:                                                                                        "bba",
		`string.gsub("aaa", "^a", "b")`:                                                                                          "baa",
		`(function() local s = ""; for k, v in string.gmatch("a=1, b=2", "(%w+)=(%w+)") do s = s .. k .. v end; return s end)()`: "a1b2",
		`(function() local s = ""; for w in ("one two"):gmatch("%a+") do s = s .. #w end; return s end)()`:                       "33",
		`math.floor(3.7) .. math.max(1, 2) .. tostring(math.random)`:                                                             "32nil",
		`tostring(string.match("x-y", "[%a-]+")) .. string.match("]x", "[]]") .. string.match("ab", "[^a]")`:                     "x-y]b",
	} {
		got, err := run("return {status = "+source+"}", true, noon)
		if err != nil || got.Status != want {
			t.Errorf("%s\ngot  %q, %v\nwant %q", source, got.Status, err, want)
		}
	}
}

func TestErrorsSpeakToTheAuthor(t *testing.T) {
	for source, want := range map[string]string{
		"return obj.a.b":                          "<string>:1: attempt to index a non-table object(nil) with key 'b'",
		"\nreturn {status = 'a' .. nil}":          "<string>:2: cannot perform concat operation between string and nil",
		"return 3":                                "expect table output from Lua script, not number",
		"error('enough')":                         "<string>:1: enough",
		"error({})":                               "table",
		"return string.upper('a')":                "attempt to index a non-table object(nil) with key 'upper'",
		"return {status = ('a'):upper()}":         "attempt to index a non-table object(string)",
		"require('io')":                           "module io not found",
		"local l = {}; l[nil] = 1":                "",
		"return table.concat({{}})":               "invalid value (table) at index 1 in table for concat",
		"table.sort({1, 'a'})":                    "attempt to compare",
		"table.insert({})":                        "wrong number of arguments",
		"unpack({}, 1, 1e9)":                      "too many results to unpack",
		"if then":                                 "compile: <string> line:1(column:7) near 'then'",
		strings.Repeat("(", 1000):                 "compile:",
		"return " + strings.Repeat("-", 9) + "{}": "",
		"goto nowhere":                            "compile:",
		strings.Repeat("x", maxSource+1):          "the script has 262145 bytes",
		"return " + strings.Repeat("{", 500) + "1" + strings.Repeat("}", 500): "nested too deep",
	} {
		_, err := run(source, false, noon)
		if want == "" {
			continue // only has to end
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s\ngot  %v\nwant %s", source, err, want)
		}
	}
	for source, want := range map[string]string{
		"return ('a'):find('[a')":                               "malformed pattern",
		"return ('a'):find('%')":                                "malformed pattern (ends with '%')",
		"return ('a'):find('(a')":                               "invalid pattern capture",
		"return ('a'):find('a)+')":                              "invalid pattern capture",
		"return ('a'):find('%1')":                               "invalid pattern capture",
		"return ('a'):gsub('a', '%2')":                          "invalid pattern capture",
		"return ('a'):gsub('a', true)":                          "string/function/table expected",
		"return ('a'):gsub('a', function() return {} end)":      "invalid replacement value",
		"return string.format('%d', 'x')":                       "number expected",
		"return string.format('%y', 1)":                         "invalid option '%y' to 'format'",
		"return string.format('%999d', 1)":                      "width or precision too long",
		"return ('a'):find('" + strings.Repeat("()", 40) + "')": "too many captures",
	} {
		_, err := run(source, true, noon)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s\ngot  %v\nwant %s", source, err, want)
		}
	}
}

// TestTheBoxHolds runs what would eat time or memory, or reach out of the box.
func TestTheBoxHolds(t *testing.T) {
	const tooLong, tooLarge = "context deadline exceeded", "needs more than"
	for name, c := range map[string]struct{ source, want string }{
		"an endless loop":          {`while true do end`, tooLong},
		"a loop that catches":      {`while true do pcall(function() while true do end end) end`, tooLong},
		"endless recursion":        {`local function f() return 1 + f() end; return f()`, "stack overflow"},
		"doubling text":            {`local s = "x"; while true do s = s .. s end`, tooLarge},
		"doubling and keeping":     {`local l, s = {}, ("x"):rep(1000); for i = 1, 1e6 do l[i] = s .. i end`, tooLarge},
		"repeated text":            {`return ("x"):rep(1e10)`, tooLarge},
		"repeated long text":       {`local s = ("x"):rep(1e6); for i = 1, 1e6 do local t = s:rep(10) end`, tooLarge},
		"a far index":              {`local t = {}; t[60000000] = 1`, tooLarge},
		"far indexes":              {`for i = 1, 1e6 do local t = {}; t[100000] = i end`, tooLarge},
		"a far index by rawset":    {`rawset({}, 60000000, 1)`, tooLarge},
		"a far index by insert":    {`table.insert({}, 60000000, 1)`, tooLarge},
		"a far index at once":      {`local i = 60000000; return {[i] = 1}`, tooLarge},
		"a far index among others": {`local t, i = {}, 60000000; t[i], i = 1, 2`, tooLarge},
		"joining a list":           {`local s, l = ("x"):rep(1e5), {}; for i = 1, 1e4 do l[i] = s end; return table.concat(l)`, tooLarge},
		"formatting":               {`local s = ("x"):rep(1e6); return ("%s%s%s%s%s%s%s%s%s%s"):format(s, s, s, s, s, s, s, s, s, s)`, tooLarge},
		"replacing":                {`local s = ("x"):rep(1e5); return s:gsub("x", s)`, tooLarge},
		"a pattern without end":    {`return (("a"):rep(300)):find(("a*"):rep(30) .. "b")`, tooLong},
		"a pattern that recurses":  {`return (("a"):rep(1e5)):find(("(a"):rep(30))`, "invalid pattern capture"},
		"a deep pattern":           {`return (("a"):rep(1e3)):find(("a?"):rep(1e3))`, "pattern too complex"},
		"a slow comparison":        {`local l = {}; for i = 1, 1e4 do l[i] = i end; table.sort(l, function(a, b) for i = 1, 1e3 do end return a < b end)`, tooLong},
		"sorting without sense":    {`local l = {}; for i = 1, 1e3 do l[i] = i end; table.sort(l, function() return true end); return {status = "x"}`, ""},
		"coroutines":               {`return coroutine.create(function() end)`, "index a non-table object(nil)"},
		"files":                    {`return io.open("/etc/passwd")`, "index a non-table object(nil)"},
		"reading a file":           {`return dofile("/etc/passwd")`, "attempt to call a non-function object"},
		"loading a file":           {`return loadfile("/etc/passwd")`, "attempt to call a non-function object"},
		"loading code":             {`return loadstring("return 1")()`, "attempt to call a non-function object"},
		"leaving":                  {`os.exit(3)`, "attempt to call a non-function object"},
		"the environment":          {`return os.getenv("HOME")`, "attempt to call a non-function object"},
		"debugging":                {`return debug.getinfo(1)`, "index a non-table object(nil)"},
		"packages":                 {`return package.loaded`, "index a non-table object(nil)"},
		"the environment of code":  {`return getfenv(0)`, "attempt to call a non-function object"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := run(c.source, true, nil)
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestTheClockStopsAScript(t *testing.T) {
	at := noon()
	passing := func() time.Time { at = at.Add(100 * time.Millisecond); return at }
	if _, err := run(`while true do end`, false, passing); err == nil || !strings.Contains(err.Error(), "context deadline exceeded") {
		t.Errorf("got %v", err)
	}
	if looked := at.Sub(noon()); looked > 2*time.Second {
		t.Errorf("the script went on until %v", looked)
	}
	if _, err := run(`return {status = tostring(os.time())}`, false, nil); err == nil || !strings.Contains(err.Error(), "the time is not known here") {
		t.Errorf("a box without clock: %v", err)
	}
}

func TestRunsShareNothing(t *testing.T) {
	program, err := Compile(`seen = (seen or 0) + 1; obj.kind = "changed"; return {status = tostring(seen)}`, false)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan string, 8)
	for range cap(done) {
		go func() {
			answer, err := program.Run(shop, noon)
			done <- fmt.Sprint(answer.Status, err)
		}()
	}
	for range cap(done) {
		if got := <-done; got != "1<nil>" {
			t.Errorf("got %s", got)
		}
	}
	if shop["kind"] != "Boat" {
		t.Error("a script changed the object")
	}
}

func TestMessagesAreBounded(t *testing.T) {
	long, err := run(`return {status = "Healthy", message = ("\255é"):rep(10000)}`, true, noon)
	if err != nil || len(long.Message) > maxMessage+8 || strings.ContainsRune(long.Message, 0xFF) {
		t.Errorf("%d bytes, %v", len(long.Message), err)
	}
	if _, err := run(`error(("x"):rep(100000))`, true, noon); err == nil || len(err.Error()) > maxMessage+8 {
		t.Errorf("%v", err)
	}
	deep := map[string]any{}
	for at, i := deep, 0; i < 1000; i++ {
		next := map[string]any{}
		at["a"], at = next, next
	}
	program, err := Compile(`return {}`, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := program.Run(deep, noon); err == nil {
		t.Error("an object nested 1000 deep is taken")
	}
}

// FuzzScript runs scripts of any kind: they have to end, and without a panic.
func FuzzScript(f *testing.F) {
	for _, source := range []string{
		`return {status = "Healthy"}`, `for k, v in pairs(obj) do obj[k] = v .. k end`, `local t = {}; t[1e5] = 1; return t`,
		`return {status = ("%5d"):format(3), message = ("a"):gsub("(a*)", "%1")}`, `goto a; ::a:: return {}`,
		`local l, i = {}, 1; l[i], l[i+1] = i, i .. "x"; table.sort(l, function() error("x") end)`,
		`setmetatable(_G, {__index = function(_, k) return k end}); return {status = a .. b}`,
		`return setmetatable({}, {__concat = 1}) .. 1`, `string.x = 1; ("a"):x()`,
	} {
		f.Add(source, true)
		f.Add(source, false)
	}
	f.Fuzz(func(t *testing.T, source string, open bool) {
		program, err := Compile(source, open)
		if err != nil {
			return
		}
		_, _ = program.Run(shop, noon) // an error is an answer
	})
}

// FuzzPattern compares the matcher with the interpreter's own.
func FuzzPattern(f *testing.F) {
	for _, c := range [][2]string{
		{"hello world", "o w"}, {"key=value", "(%w+)=(%w+)"}, {"f(a(b))", "%b()"}, {"aaa", "a-a"}, {"x1y22", "%d+"}, {"abc", "^a.c$"},
		{"]-^", "[]^-]+"}, {"", ".*"}, {"aab", "a*()b"}, {"a.b", "%."}, {"tab\there", "%s"}, {"AbC", "%u%l%u"}, {"0xFF", "%x+"},
	} {
		f.Add(c[0], c[1])
	}
	f.Fuzz(func(t *testing.T, text, pattern string) {
		// Frontiers are unknown to the interpreter's own matcher, and back
		// references and odd brackets differ from Lua's there.
		if len(text) > 40 || len(pattern) > 12 || pattern == "" || strings.Contains(pattern, "%f") || strings.ContainsAny(pattern, "[]123456789") ||
			strings.Count(pattern, "^") > 0 && pattern[0] != '^' {
			return
		}
		ours, ourError := found(text, pattern)
		state := lua.NewState()
		defer state.Close()
		state.SetGlobal("text", lua.LString(text))
		state.SetGlobal("pattern", lua.LString(pattern))
		theirError := state.DoString(`local b, e = string.find(text, pattern); answer = tostring(b) .. "," .. tostring(e)`)
		if ourError != nil || theirError != nil {
			return // what counts as malformed differs in places
		}
		if theirs := state.GetGlobal("answer").String(); ours != theirs {
			t.Errorf("find(%q, %q): got %s, the interpreter finds %s", text, pattern, ours, theirs)
		}
	})
}

func found(text, pattern string) (string, error) {
	program, err := Compile(`local b, e = string.find(obj.text, obj.pattern); return {status = tostring(b) .. "," .. tostring(e)}`, true)
	if err != nil {
		return "", err
	}
	answer, err := program.Run(map[string]any{"text": text, "pattern": pattern}, noon)
	return answer.Status, err
}
