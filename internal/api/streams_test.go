package api

import (
	"testing"

	"plumb.dev/plumb/internal/api/plumbv1/plumbv1connect"
)

func TestStreamsAreBounded(t *testing.T) {
	s := newGoing(maxStreams, callerStreams)
	ends := make([]func(), 0, callerStreams)
	for range callerStreams {
		end, ok := s.begin("a", 1)
		if !ok {
			t.Fatal("too few streams")
		}
		ends = append(ends, end)
	}
	if _, ok := s.begin("a", 1); ok {
		t.Error("one caller has more streams than it may")
	}
	if _, ok := s.begin("b", 1); !ok {
		t.Error("one caller keeps out another")
	}
	for _, end := range ends {
		end()
	}
	if _, ok := s.begin("a", 1); !ok || len(s.of) != 2 || s.all != 2 {
		t.Errorf("what has ended still counts: %v, %d", s.of, s.all)
	}
}

// TestGraphsWeighMore: each holds the Pods of whole namespaces.
func TestGraphsWeighMore(t *testing.T) {
	s := newGoing(maxStreams, callerStreams)
	graph := weightOf(plumbv1connect.DeliveryServiceWatchGraphProcedure)
	for range callerStreams / graph {
		if _, ok := s.begin("a", graph); !ok {
			t.Fatal("too few graphs")
		}
	}
	if _, ok := s.begin("a", weightOf(plumbv1connect.DeliveryServiceWatchDeliveriesProcedure)); ok || graph < 2 {
		t.Error("graphs count as if they were lists")
	}
}
