package health

import "plumb.dev/plumb/internal/model"

// apiService is Current when the aggregator can reach it. kstatus does not
// look; but kinds of an API that is not there yet cannot be applied.
func apiService(live fields) model.Health {
	available, ok := live.condition("Available")
	switch {
	case available.status == "True":
		return current("the API is available")
	case ok:
		return inProgress(or(available.reason, "NotAvailable"), "the API is not available%s", available.because())
	case live.sub("spec", "service") != nil:
		return inProgress("NotAvailable", "the API has not been tried yet")
	}
	return current("the API is served by the API server itself")
}

// assessAPIService is Argo CD's judgement: unlike in [apiService], one that the
// API server serves itself has to say that it is available, too.
func assessAPIService(live fields) model.Health {
	return first(reported(when("Available", "True", model.Current), when("Available", "", model.InProgress)))(live)
}
