package health

import "plumb.dev/plumb/internal/model"

// proclaim judges services that Dogmatiq's Proclaim advertises over DNS.
var proclaim = system{group: "proclaim.dogmatiq.io", kinds: map[string]rule{
	"DNSSDServiceInstance": first(
		ranked(
			when("Adopted", "False", model.Unhealthy),
			when("Advertised", "", model.Unhealthy).with("AdvertiseError", "UnadvertiseError"),
			when("Discoverable", "", model.Unknown).with("DiscoveryError"),
			when("Discoverable", "True", model.Current),
		),
	),
}}
