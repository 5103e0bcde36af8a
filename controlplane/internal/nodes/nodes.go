// Package nodes simulates the machines of a cluster: it registers Node objects
// and plays the kubelet of each, so that pods bound to them run, become Ready,
// finish, fail and go. What a pod reports is decided by package podstatus;
// here it is written.
//
// Nodes renew no Leases and send no heartbeats, since no controller runs that
// would miss them; a cluster at rest is at rest. The happy path of a pod is
// one status write and no event of its own. A deleted pod goes at once,
// whatever its grace period: there is no process to wait for.
package nodes

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	"plumb.dev/plumb/controlplane/internal/podstatus"
	"plumb.dev/plumb/controlplane/internal/workloop"
)

const workers = 8

// Fleet is the set of simulated nodes.
type Fleet struct {
	client      kubernetes.Interface
	names       map[string]bool
	runFor      time.Duration
	pods        corelisters.PodLister
	informer    cache.SharedIndexInformer
	loop        *workloop.Loop[cache.ObjectName]
	addresses   *addressPool
	broadcaster record.EventBroadcaster

	mu   sync.Mutex
	seen map[types.UID]time.Time
}

// New prepares a fleet of count nodes. Containers that are to end run for
// runFor.
func New(config *rest.Config, count int, runFor time.Duration) (*Fleet, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("client of the simulated nodes: %w", err)
	}
	fleet := &Fleet{
		client:      client,
		names:       map[string]bool{},
		runFor:      runFor,
		addresses:   newAddressPool(),
		broadcaster: record.NewBroadcaster(),
		seen:        map[types.UID]time.Time{},
	}
	fleet.loop = workloop.New("simulated kubelets", fleet.attend)
	for i := 1; i <= count; i++ {
		fleet.names[nodeName(i)] = true
	}
	return fleet, nil
}

// Run plays the kubelets until the context ends. The nodes must have been
// registered.
func (f *Fleet) Run(ctx context.Context) error {
	f.broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: f.client.CoreV1().Events("")})
	defer f.broadcaster.Shutdown()

	factory, err := f.watchPods()
	if err != nil {
		return err
	}
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	if cache.WaitForCacheSync(ctx.Done(), f.informer.HasSynced) {
		f.loop.Run(ctx, workers)
	}
	return nil
}

// watchPods sees every pod that is bound to some node.
func (f *Fleet) watchPods() (informers.SharedInformerFactory, error) {
	factory := informers.NewSharedInformerFactoryWithOptions(f.client, 0,
		informers.WithTransform(dropManagedFields),
		informers.WithTweakListOptions(func(options *metav1.ListOptions) {
			options.FieldSelector = fields.OneTermNotEqualSelector("spec.nodeName", "").String()
		}))
	f.informer = factory.Core().V1().Pods().Informer()
	f.pods = factory.Core().V1().Pods().Lister()
	_, err := f.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { f.observe(object.(*corev1.Pod)) },
		UpdateFunc: func(_, object any) { f.observe(object.(*corev1.Pod)) },
		DeleteFunc: f.forget,
	})
	return factory, err
}

func (f *Fleet) observe(pod *corev1.Pod) {
	if !f.names[pod.Spec.NodeName] {
		return
	}
	f.addresses.reserve(pod.UID, pod.Status.PodIP)
	f.loop.Add(cache.MetaObjectToName(pod), 0)
}

func (f *Fleet) forget(object any) {
	if tombstone, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = tombstone.Obj
	}
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return
	}
	f.addresses.release(pod.UID)
	f.mu.Lock()
	delete(f.seen, pod.UID)
	f.mu.Unlock()
}

// attend brings one pod up to date and says when to look again.
func (f *Fleet) attend(ctx context.Context, name cache.ObjectName) (time.Duration, error) {
	pod, err := f.pods.Pods(name.Namespace).Get(name.Name)
	if apierrors.IsNotFound(err) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if pod.DeletionTimestamp != nil {
		return 0, f.remove(ctx, pod)
	}
	now := time.Now()
	step := podstatus.Next(pod, f.place(pod, now), now)
	if apiequality.Semantic.DeepEqual(pod.Status, step.Status) {
		return step.Again, nil
	}
	if err := f.write(ctx, pod, step.Status); err != nil {
		return 0, err
	}
	f.record(pod, step.Events)
	return step.Again, nil
}

// remove ends a pod. Somebody who holds a finalizer on it, as the job
// controller does, learns from the last status how it ended.
func (f *Fleet) remove(ctx context.Context, pod *corev1.Pod) error {
	if grace := pod.DeletionGracePeriodSeconds; grace != nil && *grace == 0 {
		return nil // only finalizers keep it
	}
	if len(pod.Finalizers) > 0 && !podstatus.Ended(pod) {
		if err := f.write(ctx, pod, podstatus.Killed(pod, time.Now())); err != nil {
			return err
		}
	}
	options := metav1.NewDeleteOptions(0)
	options.Preconditions = metav1.NewUIDPreconditions(string(pod.UID))
	err := f.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, *options)
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // gone, or another pod of that name
	}
	return err
}

func (f *Fleet) write(ctx context.Context, pod *corev1.Pod, status corev1.PodStatus) error {
	changed := pod.DeepCopy()
	changed.Status = status
	_, err := f.client.CoreV1().Pods(pod.Namespace).UpdateStatus(ctx, changed, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func (f *Fleet) record(pod *corev1.Pod, events []podstatus.Event) {
	if len(events) == 0 {
		return
	}
	recorder := f.broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "kubelet", Host: pod.Spec.NodeName})
	for _, event := range events {
		recorder.Event(pod, event.Type, event.Reason, event.Message)
	}
}

func (f *Fleet) place(pod *corev1.Pod, now time.Time) podstatus.Placement {
	placement := podstatus.Placement{HostIP: hostIP, PodIP: hostIP, Since: f.since(pod, now), RunFor: f.runFor}
	if !pod.Spec.HostNetwork {
		placement.PodIP = f.addresses.assign(pod.UID)
	}
	return placement
}

// since is when the pod was first seen, exactly if this process saw it, and to
// the second if an earlier one did.
func (f *Fleet) since(pod *corev1.Pod, now time.Time) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	since, known := f.seen[pod.UID]
	if known {
		return since
	}
	since = now
	if pod.Status.StartTime != nil {
		since = pod.Status.StartTime.Time
	}
	f.seen[pod.UID] = since
	return since
}

func dropManagedFields(object any) (any, error) {
	if accessor, ok := object.(metav1.Object); ok {
		accessor.SetManagedFields(nil)
	}
	return object, nil
}
