package main

import (
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
)

// BenchmarkServerSideApply measures what the API server takes from 32 writers:
// new ConfigMaps of 1 KiB, then the same ones changed, unchanged and read.
func BenchmarkServerSideApply(b *testing.B) {
	const writers = 32
	cluster := sharedCluster(b)
	configMaps := cluster.typed.CoreV1().ConfigMaps(metav1.NamespaceDefault)
	apply := func(b *testing.B, run string, number int64, text string) {
		object := applycorev1.ConfigMap(fmt.Sprintf("bench-%s-%d", run, number), metav1.NamespaceDefault).
			WithData(map[string]string{"text": text})
		if _, err := configMaps.Apply(b.Context(), object, metav1.ApplyOptions{FieldManager: "bench", Force: true}); err != nil {
			b.Error(err)
		}
	}
	parallel := func(b *testing.B, work func(number int64)) {
		var number atomic.Int64
		b.SetParallelism(max(1, writers/runtime.GOMAXPROCS(0)))
		b.ResetTimer()
		b.RunParallel(func(loop *testing.PB) {
			for loop.Next() {
				work(number.Add(1))
			}
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
	}
	filler := strings.Repeat("x", 1000)
	var run atomic.Int64

	b.Run("new", func(b *testing.B) {
		id := fmt.Sprint(run.Add(1))
		parallel(b, func(number int64) { apply(b, id, number, filler) })
	})
	b.Run("changed", func(b *testing.B) {
		apply(b, "changed", 0, filler)
		parallel(b, func(number int64) { apply(b, "changed", number%100, fmt.Sprint(filler, number)) })
	})
	b.Run("unchanged", func(b *testing.B) {
		parallel(b, func(number int64) { apply(b, "unchanged", number%100, filler) })
	})
	b.Run("get", func(b *testing.B) {
		object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "bench-get"}, Data: map[string]string{"text": filler}}
		if _, err := configMaps.Create(b.Context(), object, metav1.CreateOptions{}); err != nil {
			b.Log(err)
		}
		parallel(b, func(int64) {
			if _, err := configMaps.Get(b.Context(), "bench-get", metav1.GetOptions{}); err != nil {
				b.Error(err)
			}
		})
	})
}
