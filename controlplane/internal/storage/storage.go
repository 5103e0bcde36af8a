// Package storage provisions simulated volumes, so that claims become Bound
// when a pod uses them.
//
// It plays the external provisioner of the default StorageClass "standard":
// the volume controller asks it, by annotation, for a volume, and binds what
// it makes. Volumes have no contents. Claims of other classes wait, as they
// would in a cluster without that class's driver.
package storage

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"plumb.dev/plumb/controlplane/internal/workloop"
)

const (
	// ClassName is the default StorageClass.
	ClassName = "standard"
	// Provisioner is the name that StorageClasses give for simulated volumes.
	Provisioner = "simulate.plumb.dev/volume"

	defaultClassAnnotation  = "storageclass.kubernetes.io/is-default-class"
	askedAnnotation         = "volume.kubernetes.io/storage-provisioner"
	provisionedByAnnotation = "pv.kubernetes.io/provisioned-by"
)

// Volumes provisions and reclaims simulated volumes.
type Volumes struct {
	client  kubernetes.Interface
	claims  corelisters.PersistentVolumeClaimLister
	volumes corelisters.PersistentVolumeLister
	loop    *workloop.Loop[request]
}

// request is a claim to provision, or, without a namespace, a volume to
// reclaim.
type request struct{ namespace, name string }

// New prepares the provisioner.
func New(config *rest.Config) (*Volumes, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("client of the volume provisioner: %w", err)
	}
	v := &Volumes{client: client}
	v.loop = workloop.New("volumes", v.attend)
	return v, nil
}

// EnsureClass creates the default StorageClass of a new cluster. One that
// exists is left as its owner wants it.
func (v *Volumes) EnsureClass(ctx context.Context) error {
	binding := storagev1.VolumeBindingWaitForFirstConsumer
	reclaim := corev1.PersistentVolumeReclaimDelete
	class := &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{
			Name:        ClassName,
			Annotations: map[string]string{defaultClassAnnotation: "true"},
		},
		Provisioner:       Provisioner,
		ReclaimPolicy:     &reclaim,
		VolumeBindingMode: &binding,
	}
	_, err := v.client.StorageV1().StorageClasses().Create(ctx, class, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create StorageClass %s: %w", ClassName, err)
	}
	return nil
}

// Run provisions and reclaims until the context ends.
func (v *Volumes) Run(ctx context.Context) error {
	factory := informers.NewSharedInformerFactory(v.client, 0)
	claims, volumes := factory.Core().V1().PersistentVolumeClaims(), factory.Core().V1().PersistentVolumes()
	v.claims, v.volumes = claims.Lister(), volumes.Lister()
	for _, informer := range []cache.SharedIndexInformer{claims.Informer(), volumes.Informer()} {
		_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    v.enqueue,
			UpdateFunc: func(_, object any) { v.enqueue(object) },
		})
		if err != nil {
			return err
		}
	}
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	if cache.WaitForCacheSync(ctx.Done(), claims.Informer().HasSynced, volumes.Informer().HasSynced) {
		v.loop.Run(ctx, 1)
	}
	return nil
}

func (v *Volumes) enqueue(object any) {
	if accessor, ok := object.(metav1.Object); ok {
		v.loop.Add(request{namespace: accessor.GetNamespace(), name: accessor.GetName()}, 0)
	}
}

func (v *Volumes) attend(ctx context.Context, item request) (time.Duration, error) {
	if item.namespace == "" {
		return 0, v.reclaim(ctx, item.name)
	}
	return 0, v.provision(ctx, item.namespace, item.name)
}

// provision makes the volume that the volume controller asked for.
func (v *Volumes) provision(ctx context.Context, namespace, name string) error {
	claim, err := v.claims.PersistentVolumeClaims(namespace).Get(name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	asked := claim.Annotations[askedAnnotation] == Provisioner
	if !asked || claim.Spec.VolumeName != "" || claim.DeletionTimestamp != nil || claim.Spec.StorageClassName == nil {
		return nil
	}
	class, err := v.client.StorageV1().StorageClasses().Get(ctx, *claim.Spec.StorageClassName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	_, err = v.client.CoreV1().PersistentVolumes().Create(ctx, volumeFor(claim, class), metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// reclaim removes a volume whose claim is gone.
func (v *Volumes) reclaim(ctx context.Context, name string) error {
	volume, err := v.volumes.Get(name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	ours := volume.Annotations[provisionedByAnnotation] == Provisioner
	released := volume.Status.Phase == corev1.VolumeReleased
	unwanted := volume.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete
	if !ours || !released || !unwanted || volume.DeletionTimestamp != nil {
		return nil
	}
	err = v.client.CoreV1().PersistentVolumes().Delete(ctx, name, metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func volumeFor(claim *corev1.PersistentVolumeClaim, class *storagev1.StorageClass) *corev1.PersistentVolume {
	name := "pvc-" + string(claim.UID)
	reclaim := corev1.PersistentVolumeReclaimDelete
	if class.ReclaimPolicy != nil {
		reclaim = *class.ReclaimPolicy
	}
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{
			Name:        name,
			Annotations: map[string]string{provisionedByAnnotation: Provisioner},
		},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: claim.Spec.Resources.Requests[corev1.ResourceStorage]},
			AccessModes:                   claim.Spec.AccessModes,
			VolumeMode:                    claim.Spec.VolumeMode,
			MountOptions:                  class.MountOptions,
			StorageClassName:              class.Name,
			PersistentVolumeReclaimPolicy: reclaim,
			ClaimRef: &corev1.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim",
				Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID,
			},
			PersistentVolumeSource: corev1.PersistentVolumeSource{
				HostPath: &corev1.HostPathVolumeSource{Path: "/simulated/" + name},
			},
		},
	}
}
