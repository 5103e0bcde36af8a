// Package model holds the nouns of Plumb: every dialect compiles to them and
// the engine knows nothing else. They carry no behaviour beyond String and
// Validate, so that the package can be read as the glossary of the product.
//
//	declared object ──compile──▶ Intent{Source, Delivery}
//	Source ──fetch──▶ Tree ──render──▶ Manifest ──plan──▶ Plan ──apply──▶ Baseline
//	everything that happened to one Delivery or Source ──▶ Report ──project──▶ Edits
package model
