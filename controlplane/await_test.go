package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// patience is far above what anything here takes, for loaded machines.
	patience = 60 * time.Second
	poll     = 20 * time.Millisecond
)

// await asks one question until the answer is yes, and fails with what was
// seen last.
func await(t *testing.T, what string, question func(ctx context.Context) (seen string, yes bool, err error)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	last := "nothing"
	for {
		seen, yes, err := question(ctx)
		if err == nil && yes {
			return
		}
		if ctx.Err() == nil {
			if last = seen; err != nil {
				last = err.Error()
			}
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waited for %s; seen last: %s", what, last)
		case <-ticker.C:
		}
	}
}

// newNamespace makes a namespace in which pods can be created at once.
func newNamespace(t *testing.T, c *clients) string {
	t.Helper()
	namespace, err := c.typed.CoreV1().Namespaces().Create(t.Context(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the default service account", func(ctx context.Context) (string, bool, error) {
		_, err := c.typed.CoreV1().ServiceAccounts(namespace.Name).Get(ctx, "default", metav1.GetOptions{})
		return "", true, err
	})
	return namespace.Name
}

// podSpec is a pod of one container.
func podSpec(image string) corev1.PodSpec {
	return corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: image}}}
}

// template makes a pod template with labels and an outcome.
func template(name, outcome string, spec corev1.PodSpec) corev1.PodTemplateSpec {
	object := metav1.ObjectMeta{Labels: map[string]string{"app": name}}
	if outcome != "" {
		object.Annotations = map[string]string{"simulate.plumb.dev/outcome": outcome}
	}
	return corev1.PodTemplateSpec{ObjectMeta: object, Spec: spec}
}

func createDeployment(t *testing.T, c *clients, namespace, name string, replicas int32, pods corev1.PodTemplateSpec) *appsv1.Deployment {
	t.Helper()
	deployment, err := c.typed.AppsV1().Deployments(namespace).Create(t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: pods.Labels},
			Template: pods,
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return deployment
}

func awaitAvailable(t *testing.T, c *clients, namespace, name string) {
	t.Helper()
	await(t, "Deployment "+name+" to be available", func(ctx context.Context) (string, bool, error) {
		deployment, err := c.typed.AppsV1().Deployments(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return "", false, err
		}
		for _, condition := range deployment.Status.Conditions {
			if condition.Type == appsv1.DeploymentAvailable && condition.Status == corev1.ConditionTrue &&
				deployment.Status.AvailableReplicas == *deployment.Spec.Replicas {
				return "", true, nil
			}
		}
		return fmt.Sprintf("%+v", deployment.Status), false, nil
	})
}

// awaitPod waits until the pods of an app satisfy a condition, all of them,
// and returns one.
func awaitPod(t *testing.T, c *clients, namespace, app, what string, condition func(*corev1.Pod) bool) *corev1.Pod {
	t.Helper()
	var found *corev1.Pod
	await(t, "pods of "+app+" "+what, func(ctx context.Context) (string, bool, error) {
		pods, err := c.typed.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + app})
		if err != nil || len(pods.Items) == 0 {
			return "no pods", false, err
		}
		for i := range pods.Items {
			if !condition(&pods.Items[i]) {
				return fmt.Sprintf("%+v", pods.Items[i].Status), false, nil
			}
		}
		found = &pods.Items[0]
		return "", true, nil
	})
	return found
}

// awaitEvent waits for an event about an object whose message contains a text.
func awaitEvent(t *testing.T, c *clients, namespace, object, reason, text string) {
	t.Helper()
	await(t, fmt.Sprintf("event %s about %s", reason, object), func(ctx context.Context) (string, bool, error) {
		events, err := c.typed.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{
			FieldSelector: "involvedObject.name=" + object,
		})
		if err != nil {
			return "", false, err
		}
		var seen []string
		for _, event := range events.Items {
			if event.Reason == reason && strings.Contains(event.Message, text) {
				return "", true, nil
			}
			seen = append(seen, event.Reason+": "+event.Message)
		}
		return strings.Join(seen, "\n"), false, nil
	})
}

// awaitGone waits until a read says that there is nothing.
func awaitGone(t *testing.T, what string, read func(ctx context.Context) error) {
	t.Helper()
	await(t, what+" to be gone", func(ctx context.Context) (string, bool, error) {
		err := read(ctx)
		if apierrors.IsNotFound(err) {
			return "", true, nil
		}
		return "still there", false, err
	})
}
