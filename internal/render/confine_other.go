//go:build !linux

package render

import "time"

// confine leaves the bounds to watch.
func confine(int64, time.Duration) error { return nil }
