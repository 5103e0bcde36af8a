package script

import (
	"math"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// withheld are functions of Lua's base library that reach files, load code that
// was not compiled here, or change the ground a script stands on.
var withheld = []string{
	"collectgarbage", "dofile", "getfenv", "load", "loadfile", "loadstring",
	"module", "newproxy", "_printregs", "rawset", "require", "setfenv", "unpack",
}

// furnish puts into the box what a script may use: the base library, table and
// os (time and date), as upstream does for every script, and string and math
// when its libraries are open.
func furnish(state *lua.LState, m *meter, open bool) {
	state.Push(state.NewFunction(lua.OpenBase))
	state.Push(lua.LString(lua.BaseLibName))
	state.Call(1, 0)
	for _, name := range withheld {
		state.SetGlobal(name, lua.LNil)
	}
	set := func(name string, function lua.LGFunction) { state.SetGlobal(name, state.NewFunction(function)) }
	set("print", func(*lua.LState) int { return 0 })
	set("rawset", m.rawSet)
	set("unpack", m.unpack)
	set(joinName, m.join)
	set(assignName, m.assign)
	set(indexName, m.index)

	modules := map[string]*lua.LTable{
		"table": state.SetFuncs(state.NewTable(), m.tableLibrary()),
		"os":    state.SetFuncs(state.NewTable(), m.timeLibrary()),
	}
	if open {
		modules["string"] = state.SetFuncs(state.NewTable(), m.stringLibrary())
		modules["string"].RawSetString("gfind", modules["string"].RawGetString("gmatch"))
		modules["math"] = mathLibrary(state)
		methods := state.NewTable()
		methods.RawSetString("__index", modules["string"])
		state.SetMetatable(lua.LString(""), methods)
	}
	for name, module := range modules {
		state.SetGlobal(name, module)
	}
	set("require", func(state *lua.LState) int {
		module, ok := modules[state.CheckString(1)]
		if !ok {
			state.RaiseError("module %s not found", state.CheckString(1))
		}
		state.Push(module)
		return 1
	})
}

// mathLibrary is Lua's own without chance: the same object is judged alike
// every time.
func mathLibrary(state *lua.LState) *lua.LTable {
	state.Push(state.NewFunction(lua.OpenMath))
	state.Push(lua.LString(lua.MathLibName))
	state.Call(1, 1)
	module := state.CheckTable(-1)
	state.Pop(1)
	module.RawSetString("random", lua.LNil)
	module.RawSetString("randomseed", lua.LNil)
	return module
}

// join is the operator "..": text and numbers are joined, other values by their
// metamethod, from right to left.
func (m *meter) join(state *lua.LState) int {
	top := state.GetTop()
	size := 0
	for i := 1; i <= top; i++ {
		if !lua.LVCanConvToString(state.Get(i)) {
			state.Push(m.joinPairs(state, top))
			return 1
		}
		size += len(lua.LVAsString(state.Get(i)))
	}
	m.allocate(state, int64(size))
	var b strings.Builder
	b.Grow(size)
	for i := 1; i <= top; i++ {
		b.WriteString(lua.LVAsString(state.Get(i)))
	}
	state.Push(lua.LString(b.String()))
	return 1
}

func (m *meter) joinPairs(state *lua.LState, top int) lua.LValue {
	right := state.Get(top)
	for i := top - 1; i >= 1; i-- {
		left := state.Get(i)
		if lua.LVCanConvToString(left) && lua.LVCanConvToString(right) {
			l, r := lua.LVAsString(left), lua.LVAsString(right)
			m.allocate(state, int64(len(l)+len(r)))
			right = lua.LString(l + r)
			continue
		}
		method := state.GetMetaField(left, "__concat")
		if method == lua.LNil {
			method = state.GetMetaField(right, "__concat")
		}
		if method == lua.LNil {
			state.RaiseError("cannot perform concat operation between %s and %s", left.Type(), right.Type())
		}
		state.Push(method)
		state.Push(left)
		state.Push(right)
		state.Call(2, 1)
		right = state.Get(-1)
		state.Pop(1)
	}
	return right
}

// slot is what a value in a table's array takes, in bytes.
const slot = 16

// far meters an index of a table: the interpreter fills the array up to it.
func (m *meter) far(state *lua.LState, key lua.LValue, length int) {
	n, ok := key.(lua.LNumber)
	if !ok || float64(n) != math.Trunc(float64(n)) || n <= lua.LNumber(length) || n >= lua.LNumber(lua.MaxArrayIndex) {
		return
	}
	m.allocate(state, (int64(n)-int64(length))*slot)
}

// length is how far the array of a table reaches, for metering.
func (m *meter) length(state *lua.LState, table *lua.LTable) int {
	length := table.Len()
	m.charge(state, length/256)
	return length
}

func (m *meter) assign(state *lua.LState) int {
	if table, ok := state.Get(1).(*lua.LTable); ok {
		if n, ok := state.Get(2).(lua.LNumber); ok && n > 0 && table.RawGet(n) == lua.LNil {
			m.far(state, n, m.length(state, table))
		}
	}
	state.SetTable(state.Get(1), state.Get(2), state.Get(3))
	return 0
}

func (m *meter) rawSet(state *lua.LState) int {
	table, key := state.CheckTable(1), state.CheckAny(2)
	m.far(state, key, m.length(state, table))
	table.RawSet(key, state.CheckAny(3))
	return 0
}

// index meters a computed key in a table's constructor.
func (m *meter) index(state *lua.LState) int {
	m.far(state, state.Get(1), 0)
	state.Push(state.Get(1))
	return 1
}

func (m *meter) unpack(state *lua.LState) int {
	table := state.CheckTable(1)
	from, to := state.OptInt(2, 1), state.OptInt(3, table.Len())
	if to < from {
		return 0
	}
	if int64(to)-int64(from) >= registers {
		state.RaiseError("too many results to unpack")
	}
	for i := from; i <= to; i++ {
		state.Push(table.RawGetInt(i))
	}
	return to - from + 1
}

func (m *meter) tableLibrary() map[string]lua.LGFunction {
	return map[string]lua.LGFunction{
		"concat": m.tableConcat,
		"getn":   m.tableLength,
		"insert": m.tableInsert,
		"maxn":   m.tableMax,
		"remove": m.tableRemove,
		"sort":   m.tableSort,
	}
}

func (m *meter) tableLength(state *lua.LState) int {
	state.Push(lua.LNumber(m.length(state, state.CheckTable(1))))
	return 1
}

func (m *meter) tableMax(state *lua.LState) int {
	table := state.CheckTable(1)
	m.length(state, table)
	state.Push(lua.LNumber(table.MaxN()))
	return 1
}

func (m *meter) tableConcat(state *lua.LState) int {
	table := state.CheckTable(1)
	separator := state.OptString(2, "")
	length := m.length(state, table)
	from, to := max(state.OptInt(3, 1), 1), min(state.OptInt(4, length), length)
	var b strings.Builder
	for i := from; i <= to; i++ {
		value := table.RawGetInt(i)
		if !lua.LVCanConvToString(value) {
			state.RaiseError("invalid value (%s) at index %d in table for concat", value.Type(), i)
		}
		text := lua.LVAsString(value)
		if i > from {
			text = separator + text
		}
		m.allocate(state, int64(len(text))+1)
		b.WriteString(text)
	}
	state.Push(lua.LString(b.String()))
	return 1
}

func (m *meter) tableInsert(state *lua.LState) int {
	table := state.CheckTable(1)
	length := m.length(state, table)
	switch state.GetTop() {
	case 1:
		state.RaiseError("wrong number of arguments")
	case 2:
		m.allocate(state, slot)
		table.Append(state.Get(2))
	default:
		position := state.CheckInt(2)
		m.far(state, lua.LNumber(position), length)
		m.allocate(state, slot)
		m.charge(state, length/64)
		table.Insert(position, state.CheckAny(3))
	}
	return 0
}

func (m *meter) tableRemove(state *lua.LState) int {
	table := state.CheckTable(1)
	m.charge(state, m.length(state, table)/64)
	state.Push(table.Remove(state.OptInt(2, -1)))
	return 1
}

// tableSort sorts a list by its values or by a function of the script.
func (m *meter) tableSort(state *lua.LState) int {
	table := state.CheckTable(1)
	var less *lua.LFunction
	if state.GetTop() > 1 {
		less = state.CheckFunction(2)
	}
	list := make([]lua.LValue, m.length(state, table))
	m.allocate(state, int64(len(list))*slot)
	for i := range list {
		list[i] = table.RawGetInt(i + 1)
	}
	list = mergeSort(list, func(a, b lua.LValue) bool {
		m.charge(state, 1)
		if less == nil {
			return state.LessThan(a, b)
		}
		state.Push(less)
		state.Push(a)
		state.Push(b)
		state.Call(2, 1)
		before := lua.LVAsBool(state.Get(-1))
		state.Pop(1)
		return before
	})
	for i, value := range list {
		table.RawSetInt(i+1, value)
	}
	return 0
}

// mergeSort is stable and takes n·log(n) comparisons whatever the comparison
// answers.
func mergeSort(list []lua.LValue, less func(a, b lua.LValue) bool) []lua.LValue {
	if len(list) < 2 {
		return list
	}
	left, right := mergeSort(list[:len(list)/2], less), mergeSort(list[len(list)/2:], less)
	merged := make([]lua.LValue, 0, len(list))
	for len(left) > 0 && len(right) > 0 {
		if less(right[0], left[0]) {
			merged, right = append(merged, right[0]), right[1:]
		} else {
			merged, left = append(merged, left[0]), left[1:]
		}
	}
	return append(append(merged, left...), right...)
}
