package health

import "plumb.dev/plumb/internal/model"

// service is Current, apart from a load balancer that has no cluster IP yet. As
// in kstatus, an outside address is not waited for: many clusters never give
// one. The message says that it is missing.
func service(live fields) model.Health {
	if live.text("spec", "type") != "LoadBalancer" {
		return current("the Service is ready")
	}
	if live.text("spec", "clusterIP") == "" {
		return inProgress("NoIPAssigned", "the load balancer has no cluster IP yet")
	}
	if address := loadBalancerAddress(live); address != "" {
		return current("the load balancer has address %s", address)
	}
	return current("the Service is ready; its load balancer has no outside address yet")
}

// loadBalancerAddress is the first address of status.loadBalancer, or "".
func loadBalancerAddress(live fields) string {
	for _, entry := range live.each("status", "loadBalancer", "ingress") {
		if address := or(entry.text("ip"), entry.text("hostname")); address != "" {
			return address
		}
	}
	return ""
}

// assessService is Argo CD's judgement: unlike [service] it waits for the
// outside address of a load balancer.
func assessService(live fields) model.Health {
	if live.text("spec", "type") != "LoadBalancer" {
		return current("the Service is ready")
	}
	return assessIngress(live)
}
