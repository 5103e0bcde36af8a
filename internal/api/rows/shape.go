package rows

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	"plumb.dev/plumb/internal/api/board"
	"plumb.dev/plumb/internal/api/plumbv1"
)

// Deliveries is how lists of deliveries are read.
var Deliveries = board.Shape[*plumbv1.Delivery]{
	Facets: []string{"dialect", "kind", "cluster", "namespace", "project", "source", "health", "sync", "reason", "automation", "suspended", "held", "made_by"},
	Value:  deliveryValue,
	Rank:   rank,
	Text: func(d *plumbv1.Delivery) string {
		return strings.Join([]string{
			d.GetRef().GetName(), d.GetRef().GetNamespace(), d.GetRef().GetKind(), d.GetSource().GetUrl(), d.GetSource().GetPath(), d.GetSource().GetChart(),
			d.GetProject(), d.GetCluster(), d.GetRevision(), d.GetMessage(), d.GetReason(), d.GetTargetNamespace(), d.GetCommit().GetSubject(),
		}, "\n")
	},
	Labels: (*plumbv1.Delivery).GetLabels,
	Worse: func(a, b *plumbv1.Delivery) int {
		return cmp.Or(urgency(b)-urgency(a), byName(a.GetRef(), b.GetRef()))
	},
}

// rank orders the values of fields that have an order of their own: what needs
// somebody comes first, and what is no value of it last.
func rank(field, value string) (int, bool) {
	switch field {
	case "health":
		return -Severity(value), true
	case "sync":
		return -slices.Index(outOfSyncLast, value), true
	}
	return 0, false
}

// urgency ranks rows by how much they need somebody.
func urgency(d *plumbv1.Delivery) int {
	n := Severity(d.GetHealth().GetState()) * 4
	if d.GetHold() != nil {
		n += 3
	}
	if d.GetSync() != "Synced" {
		n++
	}
	return n
}

func byName(a, b *plumbv1.ObjectRef) int {
	return cmp.Or(strings.Compare(a.GetNamespace(), b.GetNamespace()), strings.Compare(a.GetName(), b.GetName()), strings.Compare(a.GetKind(), b.GetKind()))
}

func deliveryValue(d *plumbv1.Delivery, field string) (string, bool) {
	switch field {
	case "dialect":
		return d.GetDialect(), true
	case "kind":
		return d.GetRef().GetKind(), true
	case "cluster":
		return d.GetCluster(), true
	case "namespace":
		return d.GetRef().GetNamespace(), true
	case "name":
		return d.GetRef().GetName(), true
	case "project":
		return d.GetProject(), true
	case "source":
		return sourceName(d.GetSource()), true
	case "health":
		return d.GetHealth().GetState(), true
	case "sync":
		return d.GetSync(), true
	case "reason":
		return d.GetReason(), true
	case "automation":
		return d.GetAutomation(), true
	case "suspended":
		return strconv.FormatBool(d.GetSuspended()), true
	case "held":
		return strconv.FormatBool(d.GetHold() != nil), true
	case "made_by":
		return refName(d.GetMadeBy()), true
	case "revision":
		return d.GetRevision(), true
	case "changed":
		return moment(d.GetChanged()), true
	case "created":
		return moment(d.GetCreated()), true
	case "objects":
		return number(d.GetObjects()), true
	case "unhealthy":
		return number(d.GetUnhealthy()), true
	}
	return "", false
}

// sourceName is what people call a source.
func sourceName(s *plumbv1.SourceRef) string {
	if s.GetUrl() != "" {
		return s.GetUrl()
	}
	return refName(s.GetRef())
}

// refName is an object as a value of a field: "Kind/namespace/name".
func refName(ref *plumbv1.ObjectRef) string {
	if ref == nil {
		return ""
	}
	return ref.GetKind() + "/" + ref.GetNamespace() + "/" + ref.GetName()
}

// Sources is how lists of sources are read.
var Sources = board.Shape[*plumbv1.Source]{
	Facets: []string{"dialect", "kind", "namespace", "health", "suspended"},
	Value:  sourceValue,
	Rank:   rank,
	Text: func(s *plumbv1.Source) string {
		return strings.Join([]string{
			s.GetRef().GetName(), s.GetRef().GetNamespace(), s.GetRef().GetKind(), s.GetUrl(), s.GetRevision(), s.GetMessage(), s.GetTargetRevision(),
		}, "\n")
	},
	Labels: (*plumbv1.Source).GetLabels,
	Worse: func(a, b *plumbv1.Source) int {
		return cmp.Or(Severity(b.GetHealth().GetState())-Severity(a.GetHealth().GetState()), byName(a.GetRef(), b.GetRef()))
	},
}

func sourceValue(s *plumbv1.Source, field string) (string, bool) {
	switch field {
	case "dialect":
		return s.GetDialect(), true
	case "kind":
		return s.GetRef().GetKind(), true
	case "namespace":
		return s.GetRef().GetNamespace(), true
	case "name":
		return s.GetRef().GetName(), true
	case "health":
		return s.GetHealth().GetState(), true
	case "suspended":
		return strconv.FormatBool(s.GetSuspended()), true
	case "url":
		return s.GetUrl(), true
	case "revision":
		return s.GetRevision(), true
	case "fetched":
		return moment(s.GetFetched()), true
	case "created":
		return moment(s.GetCreated()), true
	case "readers":
		return number(s.GetReaders()), true
	}
	return "", false
}

// moment is a time as text that orders as times do.
func moment(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return t.AsTime().UTC().Format("2006-01-02T15:04:05.000000000")
}

// number is a number as text that orders as numbers do.
func number(n int32) string { return fmt.Sprintf("%010d", n) }
