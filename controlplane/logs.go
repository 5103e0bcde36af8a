package main

import (
	"flag"
	"io"
	"strconv"

	"k8s.io/klog/v2"
)

// configureLogs sets the logger that all components of Kubernetes share. The
// quiet level keeps only what ends the process: components log conflicts and
// other retries of a healthy cluster as errors, by the dozen.
func configureLogs(verbosity int) {
	flags := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(flags)
	settings := map[string]string{"logtostderr": "true", "v": strconv.Itoa(max(verbosity-1, 0))}
	if verbosity == 0 {
		settings = map[string]string{"logtostderr": "false", "alsologtostderr": "false", "stderrthreshold": "FATAL"}
		klog.SetOutput(io.Discard)
	}
	for name, value := range settings {
		if err := flags.Set(name, value); err != nil {
			klog.ErrorS(err, "Logging is not configured", "flag", name)
		}
	}
}

// etcdLogLevel is the level of etcd's logger, which has one of its own.
func etcdLogLevel(verbosity int) string {
	switch {
	case verbosity == 0:
		return "fatal"
	case verbosity == 1:
		return "warn"
	default:
		return "info"
	}
}
