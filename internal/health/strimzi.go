package health

import "plumb.dev/plumb/internal/model"

// strimzi judges the kinds of Strimzi's operator for Kafka, which says NotReady
// in a condition of its own.
var strimzi = system{group: "kafka.strimzi.io", kinds: map[string]rule{
	"Kafka":          first(reported(when("NotReady", "True", model.Unhealthy).without("Creating"), when("Ready", "True", model.Current))),
	"KafkaBridge":    strimziPart,
	"KafkaConnect":   strimziPart,
	"KafkaConnector": strimziPart,
	"KafkaTopic":     strimziPart,
	"KafkaUser":      strimziPart,
}}

var strimziPart = first(reported(when("NotReady", "True", model.Unhealthy), when("Ready", "True", model.Current)))
