package object

import "strconv"

// Older reports whether resource version a is from before b. Versions of one
// resource compare as decimal numbers (Kubernetes API concepts, "Resource
// versions"); anything else is never older.
func Older(a, b string) bool {
	x, errA := strconv.ParseUint(a, 10, 64)
	y, errB := strconv.ParseUint(b, 10, 64)
	return errA == nil && errB == nil && x < y
}
