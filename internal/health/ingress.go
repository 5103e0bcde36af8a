package health

import "plumb.dev/plumb/internal/model"

// ingress is always Current, as in kstatus: not every ingress controller
// writes an address. The message says which there is.
func ingress(live fields) model.Health {
	if address := loadBalancerAddress(live); address != "" {
		return current("the Ingress has address %s", address)
	}
	return current("the Ingress is accepted; no controller has given it an address")
}

// assessIngress is Argo CD's judgement: unlike [ingress] it waits for an entry
// in status.loadBalancer, whatever it says.
func assessIngress(live fields) model.Health {
	if list, _ := live.at("status", "loadBalancer", "ingress").([]any); len(list) == 0 {
		return inProgress("NoAddress", "it has no outside address yet")
	}
	return current("it has address %s", or(loadBalancerAddress(live), "(unnamed)"))
}
