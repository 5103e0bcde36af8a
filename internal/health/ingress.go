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
