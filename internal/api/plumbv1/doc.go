// Package plumbv1 has the messages of Plumb's API. They are generated from the
// files below internal/api/proto, which say what each is for.
package plumbv1
