package argo

import (
	"strconv"

	"plumb.dev/plumb/internal/dialect/argo/config"
	"plumb.dev/plumb/internal/dialect/reader"
	"plumb.dev/plumb/internal/object"
)

// node is one place in a declared object.
type node = reader.Node

func newReader(id object.ID) *reader.Reader {
	return reader.New(config.DialectName, reasonInvalidSpec, id)
}

// count is a whole number or a text that is one.
func count(n node) int64 {
	text, ok := n.Value.(string)
	if !ok {
		return n.Int(0)
	}
	value, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		n.Invalid("expected integer value for count. Received: %s", reader.Clip(text, 40))
	}
	return value
}
