package script

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

func (m *meter) stringLibrary() map[string]lua.LGFunction {
	return map[string]lua.LGFunction{
		"byte":    m.stringByte,
		"char":    m.stringChar,
		"find":    func(state *lua.LState) int { return m.search(state, true) },
		"format":  m.stringFormat,
		"gmatch":  m.stringGmatch,
		"gsub":    m.stringGsub,
		"len":     func(state *lua.LState) int { state.Push(lua.LNumber(len(state.CheckString(1)))); return 1 },
		"lower":   m.mapped(strings.ToLower),
		"match":   func(state *lua.LState) int { return m.search(state, false) },
		"rep":     m.stringRepeat,
		"reverse": m.mapped(reverse),
		"sub":     m.stringSub,
		"upper":   m.mapped(strings.ToUpper),
	}
}

func (m *meter) mapped(convert func(string) string) lua.LGFunction {
	return func(state *lua.LState) int {
		text := state.CheckString(1)
		m.allocate(state, int64(len(text)))
		state.Push(lua.LString(convert(text)))
		return 1
	}
}

func reverse(text string) string {
	out := make([]byte, len(text))
	for i := range len(text) {
		out[len(text)-1-i] = text[i]
	}
	return string(out)
}

// span turns Lua's first and last position, which count from 1 or, negative,
// from the end, into a slice's bounds.
func span(length, first, last int) (from, to int) {
	if first < 0 {
		first = max(length+first+1, 1)
	}
	if last < 0 {
		last = length + last + 1
	}
	from, to = max(first, 1)-1, min(last, length)
	return from, max(from, to)
}

func (m *meter) stringSub(state *lua.LState) int {
	text := state.CheckString(1)
	from, to := span(len(text), state.CheckInt(2), state.OptInt(3, -1))
	if from >= len(text) {
		from, to = 0, 0
	}
	state.Push(lua.LString(text[from:to]))
	return 1
}

func (m *meter) stringByte(state *lua.LState) int {
	text := state.CheckString(1)
	first := state.OptInt(2, 1)
	from, to := span(len(text), first, state.OptInt(3, first))
	if from >= len(text) {
		return 0
	}
	if to-from > registers {
		state.RaiseError("string slice too long")
	}
	for _, c := range []byte(text[from:to]) {
		state.Push(lua.LNumber(c))
	}
	return to - from
}

func (m *meter) stringChar(state *lua.LState) int {
	out := make([]byte, state.GetTop())
	for i := range out {
		out[i] = byte(state.CheckInt(i + 1))
	}
	state.Push(lua.LString(out))
	return 1
}

func (m *meter) stringRepeat(state *lua.LState) int {
	text, n := state.CheckString(1), max(state.CheckInt(2), 0)
	if len(text) > 0 && n > maxBytes/len(text) {
		n = maxBytes/len(text) + 1 // refused by allocate
	}
	m.allocate(state, int64(len(text))*int64(n))
	if text == "" {
		n = 0
	}
	state.Push(lua.LString(strings.Repeat(text, n)))
	return 1
}

// stringFormat is C's printf as Lua has it: widths have two digits at most.
func (m *meter) stringFormat(state *lua.LState) int {
	format := state.CheckString(1)
	var b strings.Builder
	argument := 1
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			b.WriteByte(format[i])
			m.allocate(state, 1)
			continue
		}
		if i++; i < len(format) && format[i] == '%' {
			b.WriteByte('%')
			continue
		}
		start := i
		for i < len(format) && strings.IndexByte("-+ #0.123456789", format[i]) >= 0 {
			i++
		}
		if i == len(format) || i-start > 8 || longNumber(format[start:i]) {
			state.RaiseError("invalid format (width or precision too long)")
		}
		argument++
		m.allocate(state, 128)
		b.WriteString(m.formatOne(state, "%"+format[start:i], format[i], argument))
	}
	state.Push(lua.LString(b.String()))
	return 1
}

func longNumber(flags string) bool {
	digits := 0
	for i := range len(flags) {
		if digit(flags[i]) {
			digits++
		} else {
			digits = 0
		}
		if digits > 3 || digits == 3 && flags[i-2] != '0' {
			return true
		}
	}
	return false
}

func (m *meter) formatOne(state *lua.LState, flags string, verb byte, argument int) string {
	switch verb {
	case 'd', 'i':
		return fmt.Sprintf(flags+"d", int64(state.CheckNumber(argument)))
	case 'u', 'o', 'x', 'X':
		if verb == 'u' {
			verb = 'd'
		}
		return fmt.Sprintf(flags+string(verb), int64(state.CheckNumber(argument)))
	case 'c':
		return string([]byte{byte(state.CheckInt(argument))})
	case 'e', 'E', 'f', 'g', 'G':
		return fmt.Sprintf(flags+string(verb), float64(state.CheckNumber(argument)))
	case 'q', 's':
		text := lua.LVAsString(state.ToStringMeta(state.CheckAny(argument)))
		m.allocate(state, int64(len(text))*2)
		if verb == 'q' {
			return `"` + strings.NewReplacer(`"`, `\"`, `\`, `\\`, "\n", "\\\n", "\r", `\r`, "\x00", `\000`).Replace(text) + `"`
		}
		return fmt.Sprintf(flags+"s", text)
	}
	state.RaiseError("invalid option '%%%s' to 'format'", string(verb))
	return ""
}

// matching runs work with a matcher whose mistakes become errors of the script.
func (m *meter) matching(state *lua.LState, text, pattern string, work func(*matcher) int) (results int) {
	var mistake error
	func() {
		defer func() {
			switch failure := recover().(type) {
			case nil:
			case error:
				for _, known := range []error{errPattern, errCapture, errTooMany, errTooHard, errNoLetter} {
					if failure == known { //nolint:errorlint // these are raised as they are
						mistake = known
						return
					}
				}
				panic(failure)
			default:
				panic(failure)
			}
		}()
		results = work(&matcher{text: text, pattern: pattern, step: func() { m.charge(state, 1) }})
	}()
	if mistake != nil {
		state.RaiseError("%s", mistake.Error())
	}
	return results
}

// captured is the value of a capture; index 0 is the first, and the whole match
// when the pattern has none.
func (m *matcher) captured(index, start, end int) lua.LValue {
	if index >= len(m.captures) {
		if index != 0 {
			panic(errCapture)
		}
		return lua.LString(m.text[start:end])
	}
	c := m.captures[index]
	switch c.length {
	case capturePosition:
		return lua.LNumber(c.start + 1)
	case captureOpen:
		panic(errCapture)
	}
	return lua.LString(m.text[c.start : c.start+c.length])
}

func (m *matcher) pushCaptures(state *lua.LState, start, end int, whole bool) int {
	n := len(m.captures)
	if n == 0 && whole {
		n = 1
	}
	for i := range n {
		state.Push(m.captured(i, start, end))
	}
	return n
}

// search is string.find and string.match.
func (m *meter) search(state *lua.LState, positions bool) int {
	text, pattern := state.CheckString(1), state.CheckString(2)
	from, _ := span(len(text), state.OptInt(3, 1), -1)
	if from > len(text) {
		from = len(text)
	}
	if positions && (lua.LVAsBool(state.Get(4)) || !strings.ContainsAny(pattern, "^$*+?.([%-")) {
		m.charge(state, (len(text)-from)/8)
		at := strings.Index(text[from:], pattern)
		if at < 0 {
			state.Push(lua.LNil)
			return 1
		}
		state.Push(lua.LNumber(from + at + 1))
		state.Push(lua.LNumber(from + at + len(pattern)))
		return 2
	}
	return m.matching(state, text, pattern, func(found *matcher) int {
		start, end := found.find(from)
		switch {
		case end < 0:
			state.Push(lua.LNil)
			return 1
		case positions:
			state.Push(lua.LNumber(start + 1))
			state.Push(lua.LNumber(end))
			return 2 + found.pushCaptures(state, start, end, false)
		}
		return found.pushCaptures(state, start, end, true)
	})
}

func (m *meter) stringGmatch(state *lua.LState) int {
	text, pattern := state.CheckString(1), state.CheckString(2)
	at := 0
	state.Push(state.NewFunction(func(state *lua.LState) int {
		if at > len(text) {
			state.Push(lua.LNil)
			return 1
		}
		return m.matching(state, text, pattern, func(found *matcher) int {
			start, end := found.find(at)
			if end < 0 {
				at = len(text) + 1
				state.Push(lua.LNil)
				return 1
			}
			if at = end; start == end {
				at++
			}
			return found.pushCaptures(state, start, end, true)
		})
	}))
	return 1
}

func (m *meter) stringGsub(state *lua.LState) int {
	text, pattern := state.CheckString(1), state.CheckString(2)
	replacement := state.CheckAny(3)
	switch replacement.(type) {
	case lua.LString, lua.LNumber, *lua.LTable, *lua.LFunction:
	default:
		state.ArgError(3, "string/function/table expected")
	}
	limit := state.OptInt(4, math.MaxInt)
	return m.matching(state, text, pattern, func(found *matcher) int {
		var b strings.Builder
		write := func(part string) {
			m.allocate(state, int64(len(part)))
			b.WriteString(part)
		}
		at, count := 0, 0
		for count < limit && at <= len(text) {
			start, end := found.find(at)
			if end < 0 {
				break
			}
			count++
			write(text[at:start])
			write(m.replace(state, found, replacement, start, end))
			at = end
			if start == end {
				if at < len(text) {
					write(text[at : at+1])
				}
				at++
			}
			if strings.HasPrefix(pattern, "^") {
				break
			}
		}
		if at < len(text) {
			write(text[at:])
		}
		state.Push(lua.LString(b.String()))
		state.Push(lua.LNumber(count))
		return 2
	})
}

// replace is what stands for one match. False or nil keep it as it is.
func (m *meter) replace(state *lua.LState, found *matcher, with lua.LValue, start, end int) string {
	var value lua.LValue
	switch with := with.(type) {
	case *lua.LTable:
		value = state.GetTable(with, found.captured(0, start, end))
	case *lua.LFunction:
		captures := append([]capture(nil), found.captures...)
		state.Push(with)
		state.Call(found.pushCaptures(state, start, end, true), 1)
		found.captures = captures
		value = state.Get(-1)
		state.Pop(1)
	default:
		return m.expand(found, lua.LVAsString(with), start, end)
	}
	if lua.LVIsFalse(value) {
		return found.text[start:end]
	}
	if !lua.LVCanConvToString(value) {
		state.RaiseError("invalid replacement value (a %s)", value.Type())
	}
	return lua.LVAsString(value)
}

// expand puts captures into a replacement: %1 to %9, and %0 for the match.
func (m *meter) expand(found *matcher, with string, start, end int) string {
	if !strings.Contains(with, "%") {
		return with
	}
	var b strings.Builder
	for i := 0; i < len(with); i++ {
		if with[i] != '%' || i+1 == len(with) {
			b.WriteByte(with[i])
			continue
		}
		i++
		var part string
		switch {
		case with[i] == '0':
			part = found.text[start:end]
		case digit(with[i]):
			index, _ := strconv.Atoi(with[i : i+1])
			part = lua.LVAsString(found.captured(index-1, start, end))
		default:
			part = with[i : i+1]
		}
		if b.Len()+len(part) > maxBytes {
			panic(errTooHard)
		}
		b.WriteString(part)
	}
	return b.String()
}
