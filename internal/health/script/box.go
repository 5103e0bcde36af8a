package script

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/parse"
)

// The bounds of one run. Scripts in use take some thousand instructions; the
// budgets are reached only by mistakes and attacks.
const (
	maxSource    = 256 << 10 // bytes of a script
	maxSteps     = 5_000_000 // instructions
	maxBytes     = 16 << 20  // bytes allocated by strings and far indexes, never given back
	maxTime      = time.Second
	maxCalls     = 160       // nested calls
	registers    = 1024      // values of all frames, at the start
	maxRegisters = 128 << 10 // and at most
	maxMessage   = 4 << 10   // bytes of the answer's message
)

// chunkName stands for the script in messages, as upstream has it.
const chunkName = "<string>"

// Program is a compiled script. It may run any number of times at once.
type Program struct {
	proto *lua.FunctionProto
	open  bool
}

// Compile translates a script. With open set it may use the libraries string
// and math besides those that every script has (upstream's useOpenLibs, as far
// as it can do no harm). The error is the message for the author of the script.
func Compile(source string, open bool) (program *Program, err error) {
	if len(source) > maxSource {
		return nil, fmt.Errorf("the script has %d bytes, the limit is %d", len(source), maxSource)
	}
	defer func() {
		if failure := recover(); failure != nil {
			program, err = nil, fmt.Errorf("the script does not compile: %v", failure)
		}
	}()
	chunk, err := parse.Parse(strings.NewReader(source), chunkName)
	if err != nil {
		return nil, errors.New(strings.TrimSpace(err.Error()))
	}
	chunk, err = meterSyntax(chunk)
	if err != nil {
		return nil, err
	}
	proto, err := lua.Compile(chunk, chunkName)
	if err != nil {
		return nil, errors.New(strings.TrimSpace(err.Error()))
	}
	return &Program{proto: proto, open: open}, nil
}

// Answer is what a script returned.
type Answer struct {
	Status, Message string
	// Silent: it said nothing: it returned nil, an empty table, or parts of
	// another type than text.
	Silent bool
}

// Run judges an object. The clock is for os.time, os.date and the limit of one
// second; without one (nil) a script that asks for the time fails, and only its
// instructions are counted. The error is a message for people, in upstream's
// words where upstream has them.
func (p *Program) Run(object map[string]any, clock func() time.Time) (answer Answer, err error) {
	defer func() {
		if failure := recover(); failure != nil {
			answer, err = Answer{}, fmt.Errorf("the script failed: %v", failure)
		}
	}()
	m := newMeter(clock)
	state := lua.NewState(lua.Options{
		CallStackSize:       maxCalls,
		MinimizeStackMemory: true,
		RegistrySize:        registers,
		RegistryMaxSize:     maxRegisters,
		RegistryGrowStep:    registers,
		SkipOpenLibs:        true,
	})
	defer state.Close()
	furnish(state, m, p.open)
	value, err := toLua(state, object, 0)
	if err != nil {
		return Answer{}, err
	}
	state.SetGlobal("obj", value)
	state.SetGlobal("actionParams", state.NewTable())
	state.SetContext(m)

	state.Push(state.NewFunctionFromProto(p.proto))
	if err := state.PCall(0, lua.MultRet, nil); err != nil {
		return Answer{}, errors.New(bounded(spoken(err)))
	}
	return answerOf(state.Get(-1))
}

// spoken is an error without the interpreter's stack trace.
func spoken(err error) string {
	var failure *lua.ApiError
	if errors.As(err, &failure) && failure.Object != nil && failure.Type == lua.ApiErrorRun {
		return failure.Object.String()
	}
	return err.Error()
}

// answerOf reads the returned value as upstream does by way of JSON: names
// match in any case, and a part of another type than text voids the answer.
func answerOf(value lua.LValue) (Answer, error) {
	if value == lua.LNil {
		return Answer{Silent: true}, nil
	}
	table, ok := value.(*lua.LTable)
	if !ok {
		return Answer{}, fmt.Errorf("expect table output from Lua script, not %s", value.Type())
	}
	answer := Answer{Silent: true}
	void := false
	table.ForEach(func(key, part lua.LValue) {
		name, ok := key.(lua.LString)
		if !ok {
			void = true
			return
		}
		answer.Silent = false
		for _, field := range []struct {
			name   string
			target *string
		}{{"status", &answer.Status}, {"message", &answer.Message}} {
			if !strings.EqualFold(string(name), field.name) {
				continue
			}
			text, ok := part.(lua.LString)
			void = void || !ok
			if string(name) == field.name || *field.target == "" {
				*field.target = string(text)
			}
		}
	})
	if void {
		return Answer{Silent: true}, nil
	}
	answer.Message = bounded(answer.Message)
	return answer, nil
}

func bounded(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= maxMessage {
		return text
	}
	return strings.ToValidUTF8(text[:maxMessage], "") + "…"
}

// meter counts what a run may still do. It is the context of the interpreter,
// which asks for Done before every instruction.
type meter struct {
	steps, bytes int64
	clock        func() time.Time
	started      time.Time
	over         bool
}

// checkClock is how many steps pass between two looks at the clock.
const checkClock = 512

var closed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

func newMeter(clock func() time.Time) *meter {
	m := &meter{steps: maxSteps, bytes: maxBytes, clock: clock}
	if clock != nil {
		m.started = clock()
	}
	return m
}

// Done takes a step. It is closed once the run has used up its steps or its
// time, and stays closed, so that a script cannot catch its own end.
func (m *meter) Done() <-chan struct{} {
	m.take(1)
	if m.over {
		return closed
	}
	return nil
}

func (m *meter) take(steps int64) {
	before := m.steps
	m.steps -= steps
	switch {
	case m.steps < 0:
		m.over = true
	case m.clock != nil && (steps >= checkClock || before/checkClock != m.steps/checkClock):
		m.over = m.over || m.clock().Sub(m.started) > maxTime
	}
}

// charge takes steps for work inside a library function.
func (m *meter) charge(state *lua.LState, steps int) {
	m.take(int64(steps))
	if m.over {
		state.RaiseError("%s", m.Err().Error())
	}
}

// allocate takes bytes that the run will not give back, and steps for them.
func (m *meter) allocate(state *lua.LState, bytes int64) {
	if bytes > m.bytes {
		m.bytes = 0
		state.RaiseError("the script needs more than %d MiB of memory", maxBytes>>20)
	}
	m.bytes -= bytes
	m.charge(state, int(bytes/64))
}

// Err is upstream's words for a script that takes too long.
func (m *meter) Err() error {
	if m.over {
		return context.DeadlineExceeded
	}
	return nil
}

// Deadline and Value complete context.Context.
func (m *meter) Deadline() (time.Time, bool) { return time.Time{}, false }

// Value has none.
func (m *meter) Value(any) any { return nil }
