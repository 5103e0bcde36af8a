package helmrepo

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkIndex reads an index of about 25 MB with 20,000 versions, and lets
// Helm's own library read the same file. MB-peak is by how much the heap grew
// at the most while it was read, MB-kept what was left of it in the end.
func BenchmarkIndex(b *testing.B) {
	name := filepath.Join(b.TempDir(), "index.yaml")
	file, err := os.Create(name)
	if err != nil {
		b.Fatal(err)
	}
	generated(b, file, 250, 80)
	if err := file.Close(); err != nil {
		b.Fatal(err)
	}
	info, err := os.Stat(name)
	if err != nil {
		b.Fatal(err)
	}
	for reader, read := range map[string]func() (any, error){
		"plumb": func() (any, error) {
			in, err := os.Open(name)
			if err != nil {
				return nil, err
			}
			defer func() { _ = in.Close() }()
			return parse(bufio.NewReader(in), func() (io.Reader, error) { return nil, errUnusual }, 0)
		},
		"helm": func() (any, error) { return loadHelmIndex(name) },
	} {
		b.Run(reader, func(b *testing.B) {
			b.SetBytes(info.Size())
			var peak, kept uint64
			for b.Loop() {
				before := heap()
				stop := watchHeap()
				got, err := read()
				if err != nil {
					b.Fatal(err)
				}
				peak = max(peak, stop()-before)
				kept = max(kept, heap()-before)
				runtime.KeepAlive(got)
			}
			b.ReportMetric(float64(peak)/(1<<20), "MB-peak")
			b.ReportMetric(float64(kept)/(1<<20), "MB-kept")
		})
	}
}

func heap() uint64 {
	runtime.GC()
	return allocated()
}

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// watchHeap looks at the size of the heap until the returned function is called,
// which tells the largest.
func watchHeap() func() uint64 {
	var peak atomic.Uint64
	look := func() { peak.Store(max(peak.Load(), allocated())) }
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				look()
			case <-done:
				return
			}
		}
	}()
	return func() uint64 {
		close(done)
		<-stopped
		look()
		return peak.Load()
	}
}
