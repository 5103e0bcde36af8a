package api

import "testing"

func TestStreamsAreBounded(t *testing.T) {
	var s streams
	ends := make([]func(), 0, callerStreams)
	for range callerStreams {
		end, ok := s.begin("a")
		if !ok {
			t.Fatal("too few streams")
		}
		ends = append(ends, end)
	}
	if _, ok := s.begin("a"); ok {
		t.Error("one caller has more streams than it may")
	}
	if _, ok := s.begin("b"); !ok {
		t.Error("one caller keeps out another")
	}
	for _, end := range ends {
		end()
	}
	if _, ok := s.begin("a"); !ok || len(s.of) != 2 || s.all != 2 {
		t.Errorf("what has ended still counts: %v, %d", s.of, s.all)
	}
}
