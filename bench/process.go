package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// clockTicks is the unit of CPU times in /proc: USER_HZ, which is 100 on every
// Linux that Go runs on.
const clockTicks = 100

// cpu is the time that processes and their reaped children have computed.
func cpu(pids ...int) (sum time.Duration, err error) {
	for _, pid := range pids {
		one, err := cpuOf(pid)
		if err != nil {
			return 0, err
		}
		sum += one
	}
	return sum, nil
}

func cpuOf(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 15 {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	var ticks int64
	for _, field := range fields[11:15] { // utime, stime, cutime, cstime
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / clockTicks, nil
}

// anonymous is the memory of processes that no file backs, in MiB.
func anonymous(pids ...int) (sum float64, err error) {
	for _, pid := range pids {
		one, err := anonymousOf(pid)
		if err != nil {
			return 0, err
		}
		sum += one
	}
	return sum, nil
}

func anonymousOf(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kib, err := strconv.ParseFloat(strings.Fields(value)[0], 64)
			return kib / 1024, err
		}
	}
	return 0, fmt.Errorf("/proc/%d/status has no RssAnon", pid)
}

// A gauge samples the memory of processes together for its peak.
type gauge struct {
	stop chan struct{}
	done sync.WaitGroup
	mu   sync.Mutex
	peak float64
}

// sampling is how often memory is looked at.
const sampling = 50 * time.Millisecond

func watchMemory(pids ...int) *gauge {
	g := &gauge{stop: make(chan struct{})}
	g.done.Go(func() {
		tick := time.NewTicker(sampling)
		defer tick.Stop()
		for {
			if mib, err := anonymous(pids...); err == nil {
				g.mu.Lock()
				g.peak = max(g.peak, mib)
				g.mu.Unlock()
			}
			select {
			case <-g.stop:
				return
			case <-tick.C:
			}
		}
	})
	return g
}

// close ends the sampling and returns the peak in MiB.
func (g *gauge) close() float64 {
	close(g.stop)
	g.done.Wait()
	return g.peak
}

// load is the load of the machine before the run: figures
// of a busy machine are worth little.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Fields(string(text))[0]
}
