package model

import "k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

// Need names one object of the cluster that holds the declared objects, which
// a dialect must see before it can compile, or a render before it can
// substitute. It is comparable, so that many needs of one object are one watch.
type Need struct {
	Group     string
	Version   string
	Kind      string
	Namespace string
	Name      string
	// Selector asks for every object that carries these labels instead of one
	// by name; "*" for all of them.
	Selector string
	// Resource is the plural name of the kind where that is all that is known;
	// Kind is empty then.
	Resource string
}

// String is Kind/namespace/name.
func (n Need) String() string {
	if n.Kind == "" {
		n.Kind = n.Resource
	}
	if n.Selector != "" {
		return n.Kind + "/" + n.Namespace + "?" + n.Selector
	}
	return n.Kind + "/" + n.Namespace + "/" + n.Name
}

// FactState says what is known about a needed object. The four are never
// confused: an object that could not be read is not an object that is absent.
type FactState string

// The states of a fact.
const (
	Present   FactState = "present"
	Absent    FactState = "absent"
	Forbidden FactState = "forbidden"
	Failed    FactState = "failed"
)

// Fact is the answer to a Need.
type Fact struct {
	State   FactState
	Object  *unstructured.Unstructured // set when Present; may hold secrets, never print it
	Message string                     // why, when Forbidden or Failed
	// Objects answers a Need with a Selector, by name, sorted; may hold secrets.
	Objects []*unstructured.Unstructured
}

// Facts are the answers gathered so far. A need that is not in it has not been
// asked for yet.
type Facts map[Need]Fact
