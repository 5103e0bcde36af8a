package main

import (
	"context"
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func TestDeploymentBecomesAvailableAndIsCollected(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	namespace := newNamespace(t, c)
	spec := podSpec("nginx:1.27")
	spec.InitContainers = []corev1.Container{{Name: "prepare", Image: "busybox"}}
	createDeployment(t, c, namespace, "web", 3, template("web", "", spec))
	awaitAvailable(t, c, namespace, "web")

	pod := awaitPod(t, c, namespace, "web", "are running", func(pod *corev1.Pod) bool { return pod.Status.Phase == corev1.PodRunning })
	main := pod.Status.ContainerStatuses[0]
	if pod.Status.PodIP == "" || pod.Spec.NodeName == "" || !main.Ready || main.ImageID == "" {
		t.Errorf("a running pod lacks something: %+v", pod.Status)
	}
	if prepared := pod.Status.InitContainerStatuses[0].State.Terminated; prepared == nil || prepared.ExitCode != 0 {
		t.Errorf("the init container did not complete: %+v", pod.Status.InitContainerStatuses)
	}

	if err := c.typed.AppsV1().Deployments(namespace).Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	await(t, "pods and replica sets to be collected", func(ctx context.Context) (string, bool, error) {
		sets, err := c.typed.AppsV1().ReplicaSets(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return "", false, err
		}
		pods, err := c.typed.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
		return fmt.Sprint(len(sets.Items), " sets"), err == nil && len(sets.Items)+len(pods.Items) == 0, err
	})
}

func TestRollingUpdateReplacesPods(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	namespace := newNamespace(t, c)
	deployment := createDeployment(t, c, namespace, "web", 2, template("web", "", podSpec("nginx:1.27")))
	awaitAvailable(t, c, namespace, "web")

	deployment, err := c.typed.AppsV1().Deployments(namespace).Get(t.Context(), deployment.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	deployment.Spec.Template.Spec.Containers[0].Image = "nginx:1.28"
	if _, err := c.typed.AppsV1().Deployments(namespace).Update(t.Context(), deployment, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	awaitPod(t, c, namespace, "web", "run the new image", func(pod *corev1.Pod) bool {
		return len(pod.Status.ContainerStatuses) > 0 && pod.Status.ContainerStatuses[0].Image == "docker.io/library/nginx:1.28"
	})
	awaitAvailable(t, c, namespace, "web")
}

func TestStatefulSetGetsVolumes(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	namespace := newNamespace(t, c)
	replicas := int32(2)
	spec := podSpec("postgres:17")
	spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}
	_, err := c.typed.AppsV1().StatefulSets(namespace).Create(t.Context(), &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: "db"},
		Spec: appsv1.StatefulSetSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "db"}},
			Template: template("db", "", spec),
			VolumeClaimTemplates: []corev1.PersistentVolumeClaim{{
				ObjectMeta: metav1.ObjectMeta{Name: "data"},
				Spec: corev1.PersistentVolumeClaimSpec{
					AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
					Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
				},
			}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	await(t, "two ready pods", func(ctx context.Context) (string, bool, error) {
		set, err := c.typed.AppsV1().StatefulSets(namespace).Get(ctx, "db", metav1.GetOptions{})
		if err != nil {
			return "", false, err
		}
		return fmt.Sprintf("%+v", set.Status), set.Status.ReadyReplicas == 2, nil
	})
	claim, err := c.typed.CoreV1().PersistentVolumeClaims(namespace).Get(t.Context(), "data-db-1", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if claim.Status.Phase != corev1.ClaimBound {
		t.Errorf("the claim of a running pod is %s", claim.Status.Phase)
	}

	// Volumes go with their claims, and claims only when no pod uses them.
	if err := c.typed.CoreV1().Namespaces().Delete(t.Context(), namespace, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, "the volume", func(ctx context.Context) error {
		_, err := c.typed.CoreV1().PersistentVolumes().Get(ctx, claim.Spec.VolumeName, metav1.GetOptions{})
		return err
	})
}

func TestDaemonSetRunsOnEveryNode(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	namespace := newNamespace(t, c)
	_, err := c.typed.AppsV1().DaemonSets(namespace).Create(t.Context(), &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Name: "agent"},
		Spec: appsv1.DaemonSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "agent"}},
			Template: template("agent", "", podSpec("agent:1")),
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	await(t, "a ready pod on each of three nodes", func(ctx context.Context) (string, bool, error) {
		set, err := c.typed.AppsV1().DaemonSets(namespace).Get(ctx, "agent", metav1.GetOptions{})
		if err != nil {
			return "", false, err
		}
		return fmt.Sprintf("%+v", set.Status), set.Status.NumberReady == 3, nil
	})
}

func TestServiceGetsEndpoints(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	namespace := newNamespace(t, c)
	createDeployment(t, c, namespace, "web", 2, template("web", "", podSpec("nginx")))
	_, err := c.typed.CoreV1().Services(namespace).Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": "web"},
			Ports:    []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	await(t, "two ready endpoints", func(ctx context.Context) (string, bool, error) {
		slices, err := c.typed.DiscoveryV1().EndpointSlices(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return "", false, err
		}
		addresses := map[string]bool{}
		for _, slice := range slices.Items {
			for _, endpoint := range slice.Endpoints {
				if endpoint.Conditions.Ready != nil && *endpoint.Conditions.Ready {
					addresses[endpoint.Addresses[0]] = true
				}
			}
		}
		return fmt.Sprint(addresses), len(addresses) == 2, nil
	})
}

func TestLoadBalancersGetAddresses(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	namespace := newNamespace(t, c)
	services := c.typed.CoreV1().Services(namespace)
	for name, outcome := range map[string]string{"waits": "pending", "web": ""} {
		_, err := services.Create(t.Context(), &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{"simulate.plumb.dev/outcome": outcome}},
			Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, Ports: []corev1.ServicePort{{Port: 80}}},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	backend := networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: "web", Port: networkingv1.ServiceBackendPort{Number: 80}}}
	_, err := c.typed.NetworkingV1().Ingresses(namespace).Create(t.Context(), &networkingv1.Ingress{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec:       networkingv1.IngressSpec{DefaultBackend: &backend},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	await(t, "addresses of Service and Ingress", func(ctx context.Context) (string, bool, error) {
		service, err := services.Get(ctx, "web", metav1.GetOptions{})
		if err != nil {
			return "", false, err
		}
		ingress, err := c.typed.NetworkingV1().Ingresses(namespace).Get(ctx, "web", metav1.GetOptions{})
		if err != nil {
			return "", false, err
		}
		return fmt.Sprint(service.Status, ingress.Status), len(service.Status.LoadBalancer.Ingress) == 1 && len(ingress.Status.LoadBalancer.Ingress) == 1, nil
	})
	waiting, err := services.Get(t.Context(), "waits", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(waiting.Status.LoadBalancer.Ingress) > 0 {
		t.Error("a Service that was told to wait got an address")
	}
}

func TestJobs(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		outcome string
		image   string
		ends    batchv1.JobConditionType
	}{
		"completes": {image: "busybox", ends: batchv1.JobComplete},
		"fails":     {image: "busybox", outcome: "fail", ends: batchv1.JobFailed},
	}
	for name, want := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := sharedCluster(t)
			namespace := newNamespace(t, c)
			spec := podSpec(want.image)
			spec.RestartPolicy = corev1.RestartPolicyNever
			noRetry := int32(0)
			_, err := c.typed.BatchV1().Jobs(namespace).Create(t.Context(), &batchv1.Job{
				ObjectMeta: metav1.ObjectMeta{Name: "task"},
				Spec:       batchv1.JobSpec{BackoffLimit: &noRetry, Template: template("task", want.outcome, spec)},
			}, metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			await(t, "the job to end", func(ctx context.Context) (string, bool, error) {
				job, err := c.typed.BatchV1().Jobs(namespace).Get(ctx, "task", metav1.GetOptions{})
				if err != nil {
					return "", false, err
				}
				for _, condition := range job.Status.Conditions {
					if condition.Type == want.ends && condition.Status == corev1.ConditionTrue {
						return "", true, nil
					}
				}
				return fmt.Sprintf("%+v", job.Status), false, nil
			})
		})
	}
}

func TestDeletedJobLeavesNoPods(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	namespace := newNamespace(t, c)
	spec := podSpec("busybox")
	spec.RestartPolicy = corev1.RestartPolicyNever
	_, err := c.typed.BatchV1().Jobs(namespace).Create(t.Context(), &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: "endless"},
		Spec:       batchv1.JobSpec{Template: template("endless", "slow:1h", spec)},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pod := awaitPod(t, c, namespace, "endless", "run", func(pod *corev1.Pod) bool { return pod.Status.Phase == corev1.PodRunning })
	background := metav1.DeletePropagationBackground
	if err := c.typed.BatchV1().Jobs(namespace).Delete(t.Context(), "endless", metav1.DeleteOptions{PropagationPolicy: &background}); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, "the pod", func(ctx context.Context) error {
		_, err := c.typed.CoreV1().Pods(namespace).Get(ctx, pod.Name, metav1.GetOptions{})
		return err
	})
}

func TestPodsFail(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		outcome string
		image   string
		waiting string // reason
		says    string // in its message
		event   string // reason
	}{
		"told to be pending":       {outcome: "pending", image: "nginx", waiting: "ContainerCreating"},
		"told to fail its pull":    {outcome: "image-pull", image: "nginx", waiting: "ImagePullBackOff", says: `Back-off pulling image "nginx"`, event: "Failed"},
		"told to crash":            {outcome: "crash-loop", image: "nginx", waiting: "CrashLoopBackOff", says: "back-off 10s restarting failed container=main", event: "BackOff"},
		"told to fail":             {outcome: "fail", image: "nginx", waiting: "CrashLoopBackOff", says: "restarting failed container", event: "BackOff"},
		"tag that does not exist":  {image: "nginx:1.99-nonexistent", waiting: "ImagePullBackOff", says: "docker.io/library/nginx:1.99-nonexistent: not found", event: "Failed"},
		"registry that is nowhere": {image: "registry.invalid/app:1", waiting: "ImagePullBackOff", says: "lookup registry.invalid: no such host", event: "Failed"},
		"name that is no name":     {image: "UPPER:x:y", waiting: "InvalidImageName", says: "couldn't parse image name", event: "InspectFailed"},
	}
	for name, want := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := sharedCluster(t)
			namespace := newNamespace(t, c)
			createDeployment(t, c, namespace, "app", 1, template("app", want.outcome, podSpec(want.image)))
			pod := awaitPod(t, c, namespace, "app", "wait for "+want.waiting, func(pod *corev1.Pod) bool {
				statuses := pod.Status.ContainerStatuses
				return len(statuses) == 1 && statuses[0].State.Waiting != nil && statuses[0].State.Waiting.Reason == want.waiting
			})
			if message := pod.Status.ContainerStatuses[0].State.Waiting.Message; !strings.Contains(message, want.says) {
				t.Errorf("the reason's message is %q", message)
			}
			if isReady(pod) {
				t.Error("the pod is Ready")
			}
			if want.event != "" {
				awaitEvent(t, c, namespace, pod.Name, want.event, "")
			}
		})
	}
}

func TestPodsRunWithoutBeingReady(t *testing.T) {
	t.Parallel()
	for _, outcome := range []string{"never-ready", "slow:1h"} {
		t.Run(outcome, func(t *testing.T) {
			t.Parallel()
			c := sharedCluster(t)
			namespace := newNamespace(t, c)
			createDeployment(t, c, namespace, "app", 1, template("app", outcome, podSpec("nginx")))
			pod := awaitPod(t, c, namespace, "app", "run", func(pod *corev1.Pod) bool { return pod.Status.Phase == corev1.PodRunning })
			if isReady(pod) {
				t.Error("the pod is Ready")
			}
		})
	}
}

func TestSlowPodBecomesReady(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	namespace := newNamespace(t, c)
	createDeployment(t, c, namespace, "app", 1, template("app", "slow:500ms", podSpec("nginx")))
	awaitPod(t, c, namespace, "app", "are ready", isReady)
}

func TestPodThatFitsNowhereSaysSo(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	namespace := newNamespace(t, c)
	spec := podSpec("nginx")
	spec.NodeSelector = map[string]string{"disk": "fast"}
	createDeployment(t, c, namespace, "app", 1, template("app", "", spec))
	pod := awaitPod(t, c, namespace, "app", "are unschedulable", func(pod *corev1.Pod) bool {
		for _, condition := range pod.Status.Conditions {
			if condition.Type == corev1.PodScheduled && condition.Reason == corev1.PodReasonUnschedulable {
				return true
			}
		}
		return false
	})
	awaitEvent(t, c, namespace, pod.Name, "FailedScheduling", "0/3 nodes are available")
}

func TestOutcomeThatMeansNothingIsReported(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	namespace := newNamespace(t, c)
	createDeployment(t, c, namespace, "app", 1, template("app", "explode", podSpec("nginx")))
	pod := awaitPod(t, c, namespace, "app", "are ready", isReady)
	awaitEvent(t, c, namespace, pod.Name, "InvalidSimulation", `"explode" means nothing`)
}

func isReady(pod *corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}
