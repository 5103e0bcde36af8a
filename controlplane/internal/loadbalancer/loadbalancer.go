// Package loadbalancer gives Services of type LoadBalancer and Ingresses an
// address, as a cloud would, so that what waits for one becomes healthy. The
// address is loopback, and nothing listens there. An object with the
// annotation simulate.plumb.dev/outcome: pending waits for ever.
package loadbalancer

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	networkinglisters "k8s.io/client-go/listers/networking/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"plumb.dev/plumb/controlplane/internal/podstatus"
	"plumb.dev/plumb/controlplane/internal/workloop"
)

// Address is what every load balancer answers at, or would.
const Address = "127.0.0.1"

// Balancer hands out addresses.
type Balancer struct {
	client    kubernetes.Interface
	services  corelisters.ServiceLister
	ingresses networkinglisters.IngressLister
	loop      *workloop.Loop[item]
}

type item struct {
	ingress bool
	cache.ObjectName
}

// New prepares the balancer.
func New(config *rest.Config) (*Balancer, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("client of the load balancer: %w", err)
	}
	b := &Balancer{client: client}
	b.loop = workloop.New("load balancer", b.attend)
	return b, nil
}

// Run hands out addresses until the context ends.
func (b *Balancer) Run(ctx context.Context) error {
	factory := informers.NewSharedInformerFactory(b.client, 0)
	services, ingresses := factory.Core().V1().Services(), factory.Networking().V1().Ingresses()
	b.services, b.ingresses = services.Lister(), ingresses.Lister()
	for _, informer := range []cache.SharedIndexInformer{services.Informer(), ingresses.Informer()} {
		_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    b.observe,
			UpdateFunc: func(_, object any) { b.observe(object) },
		})
		if err != nil {
			return err
		}
	}
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	if cache.WaitForCacheSync(ctx.Done(), services.Informer().HasSynced, ingresses.Informer().HasSynced) {
		b.loop.Run(ctx, 1)
	}
	return nil
}

func (b *Balancer) observe(object any) {
	switch object := object.(type) {
	case *corev1.Service:
		b.loop.Add(item{ObjectName: cache.MetaObjectToName(object)}, 0)
	case *networkingv1.Ingress:
		b.loop.Add(item{ingress: true, ObjectName: cache.MetaObjectToName(object)}, 0)
	}
}

func (b *Balancer) attend(ctx context.Context, item item) (time.Duration, error) {
	balance := b.balanceService
	if item.ingress {
		balance = b.balanceIngress
	}
	err := balance(ctx, item.ObjectName)
	if apierrors.IsNotFound(err) {
		return 0, nil
	}
	return 0, err
}

func (b *Balancer) balanceService(ctx context.Context, name cache.ObjectName) error {
	service, err := b.services.Services(name.Namespace).Get(name.Name)
	if err != nil {
		return err
	}
	wants := service.Spec.Type == corev1.ServiceTypeLoadBalancer && !waits(service)
	has := len(service.Status.LoadBalancer.Ingress) > 0
	if wants == has {
		return nil
	}
	changed := service.DeepCopy()
	changed.Status.LoadBalancer = corev1.LoadBalancerStatus{}
	if wants {
		changed.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: Address}}
	}
	_, err = b.client.CoreV1().Services(name.Namespace).UpdateStatus(ctx, changed, metav1.UpdateOptions{})
	return err
}

func (b *Balancer) balanceIngress(ctx context.Context, name cache.ObjectName) error {
	ingress, err := b.ingresses.Ingresses(name.Namespace).Get(name.Name)
	if err != nil {
		return err
	}
	if waits(ingress) || len(ingress.Status.LoadBalancer.Ingress) > 0 {
		return nil
	}
	changed := ingress.DeepCopy()
	changed.Status.LoadBalancer.Ingress = []networkingv1.IngressLoadBalancerIngress{{IP: Address}}
	_, err = b.client.NetworkingV1().Ingresses(name.Namespace).UpdateStatus(ctx, changed, metav1.UpdateOptions{})
	return err
}

// waits tells whether an object was told never to get an address.
func waits(object metav1.Object) bool {
	return object.GetDeletionTimestamp() != nil ||
		object.GetAnnotations()[podstatus.OutcomeAnnotation] == string(podstatus.Pending)
}
