package script

import (
	"encoding/json"
	"errors"

	lua "github.com/yuin/gopher-lua"
)

// maxDepth is how deep an object may be nested; the API server's own limit is
// higher, no kind comes near.
const maxDepth = 500

// toLua makes a Lua value of a decoded object. As upstream has it, a
// json.Number becomes text, and null an absent field.
func toLua(state *lua.LState, value any, depth int) (lua.LValue, error) {
	if depth > maxDepth {
		return nil, errors.New("the object is nested too deep for a script")
	}
	switch v := value.(type) {
	case bool:
		return lua.LBool(v), nil
	case string:
		return lua.LString(v), nil
	case float64:
		return lua.LNumber(v), nil
	case int64:
		return lua.LNumber(v), nil
	case int:
		return lua.LNumber(v), nil
	case int32:
		return lua.LNumber(v), nil
	case json.Number:
		return lua.LString(v), nil
	case []any:
		table := state.CreateTable(len(v), 0)
		for _, item := range v {
			converted, err := toLua(state, item, depth+1)
			if err != nil {
				return nil, err
			}
			table.Append(converted)
		}
		return table, nil
	case map[string]any:
		table := state.CreateTable(0, len(v))
		for key, item := range v {
			converted, err := toLua(state, item, depth+1)
			if err != nil {
				return nil, err
			}
			table.RawSetString(key, converted)
		}
		return table, nil
	}
	return lua.LNil, nil
}
