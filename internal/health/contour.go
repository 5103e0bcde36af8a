package health

import "plumb.dev/plumb/internal/model"

// contour judges the proxies of Contour by a condition that names its generation.
var contour = system{group: "projectcontour.io", kinds: map[string]rule{
	"ExtensionService": first(contourValid),
	"HTTPProxy":        first(contourInclusion, contourValid),
}}

func contourValid(live fields) (model.Health, bool) {
	generation, _ := live.whole("metadata", "generation")
	for _, c := range live.each("status", "conditions") {
		seen, ok := c.whole("observedGeneration")
		if c.text("type") != "Valid" || !ok || seen != generation {
			continue
		}
		message := or(c.text("message"), live.text("status", "description"))
		switch c.text("status") {
		case "True":
			return current("%s", or(message, "it is valid")), true
		case "False":
			return failed(or(c.text("reason"), "NotValid"), "%s", or(message, "it is not valid")), true
		}
	}
	return model.Health{}, false
}

// contourInclusion passes a proxy that includes others: that those are broken
// makes the whole not valid, although what it says itself is right.
func contourInclusion(live fields) (model.Health, bool) {
	health, decided := contourValid(live)
	if !decided || health.State != model.Unhealthy || !live.has("spec", "includes") {
		return model.Health{}, false
	}
	return current("it includes other proxies, which are judged by themselves"), true
}
