package script

import (
	"strconv"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// timeLibrary is what upstream leaves of Lua's os: time and date. Times without
// a zone are UTC, so that an answer does not depend on where it is given.
func (m *meter) timeLibrary() map[string]lua.LGFunction {
	return map[string]lua.LGFunction{"time": m.osTime, "date": m.osDate}
}

func (m *meter) now(state *lua.LState) time.Time {
	if m.clock == nil {
		state.RaiseError("the time is not known here")
		return time.Time{}
	}
	return m.clock()
}

func (m *meter) osTime(state *lua.LState) int {
	if state.GetTop() == 0 {
		state.Push(lua.LNumber(m.now(state).Unix()))
		return 1
	}
	table := state.CheckTable(1)
	part := func(name string, absent int) int {
		switch v := table.RawGetString(name).(type) {
		case lua.LNumber:
			return int(v)
		case lua.LString: // as string.match hands it out
			if n, err := strconv.Atoi(strings.TrimSpace(string(v))); err == nil {
				return n
			}
		}
		return absent
	}
	at := time.Date(part("year", -1), time.Month(part("month", -1)), part("day", -1),
		part("hour", 12), part("min", 0), part("sec", 0), 0, time.UTC)
	state.Push(lua.LNumber(at.Unix()))
	return 1
}

func (m *meter) osDate(state *lua.LState) int {
	format := strings.TrimPrefix(state.OptString(1, "%c"), "!")
	var at time.Time
	if state.GetTop() >= 2 {
		at = time.Unix(state.CheckInt64(2), 0).UTC()
	} else {
		at = m.now(state).UTC()
	}
	if strings.HasPrefix(format, "*t") {
		table := state.NewTable()
		for name, n := range map[string]int{
			"year": at.Year(), "month": int(at.Month()), "day": at.Day(), "yday": at.YearDay(),
			"hour": at.Hour(), "min": at.Minute(), "sec": at.Second(), "wday": int(at.Weekday()) + 1,
		} {
			table.RawSetString(name, lua.LNumber(n))
		}
		table.RawSetString("isdst", lua.LFalse)
		state.Push(table)
		return 1
	}
	m.allocate(state, int64(len(format))*16)
	state.Push(lua.LString(formatTime(at, format)))
	return 1
}

// layouts are the conversions of os.date in Go's words.
var layouts = map[byte]string{
	'a': "Mon", 'A': "Monday", 'b': "Jan", 'B': "January", 'c': "02 Jan 06 15:04 MST", 'd': "02",
	'F': "2006-01-02", 'H': "15", 'I': "03", 'j': "002", 'm': "01", 'M': "04", 'p': "PM", 'S': "05",
	'x': "01/02/06", 'X': "15:04:05", 'y': "06", 'Y': "2006", 'z': "-0700", 'Z': "MST",
}

func formatTime(at time.Time, format string) string {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		switch layout, ok := layouts[format[i]]; {
		case ok:
			b.WriteString(at.Format(layout))
		case format[i] == 'w':
			b.WriteString(strconv.Itoa(int(at.Weekday())))
		case format[i] == '%':
			b.WriteByte('%')
		default:
			b.WriteString(format[i-1 : i+1])
		}
	}
	return b.String()
}
