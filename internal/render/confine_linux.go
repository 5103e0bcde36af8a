package render

import (
	"fmt"
	"math"
	"os"
	"syscall"
	"time"
)

// confine bounds this process: an allocation beyond the memory ends it, and so
// does processor time beyond the time.
func confine(memory int64, within time.Duration) error {
	used, err := dataBytes()
	if err != nil {
		return err
	}
	const slack = 64 << 20 // of the runtime, whose heap grows by steps of that size
	most := used + slack + uint64(memory) + uint64(memory)/4
	seconds := uint64(math.Ceil(within.Seconds())) + 1
	for what, bound := range map[int]uint64{syscall.RLIMIT_DATA: most, syscall.RLIMIT_CPU: seconds, syscall.RLIMIT_CORE: 0} {
		if err := syscall.Setrlimit(what, &syscall.Rlimit{Cur: bound, Max: bound}); err != nil {
			return err
		}
	}
	// Should the machine, or the container, run out of memory all the same, this
	// is the process to end. It is no matter when it cannot be asked for.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0)
	return nil
}

// dataBytes is the private memory that this process has now.
func dataBytes() (uint64, error) {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, err
	}
	var size, resident, shared, code, library, data uint64
	if _, err := fmt.Sscan(string(text), &size, &resident, &shared, &code, &library, &data); err != nil {
		return 0, err
	}
	return data * uint64(os.Getpagesize()), nil
}
