package model

import "time"

// OCIArtifact is what a reference in a registry stood for when it was looked at.
type OCIArtifact struct {
	// Revision is how source-controller prints it: "tag@sha256:…", or "sha256:…"
	// for a reference by digest. For OCISource.Revision it is printed the same.
	Revision string
	Digest   string // of the manifest, "sha256:…"
	Tag      string // "" for a reference by digest

	// The layer that OCISource.Layer picks.
	LayerDigest    string // "sha256:…"
	LayerMediaType string
	LayerSize      int64

	// Metadata are the annotations of the manifest, as status.artifact.metadata
	// shows them.
	Metadata map[string]string
	Verified string // message of a successful verification; "" when none was asked for
}

// ChartArtifact is the packaged chart that a ChartSource stood for when it was
// looked at.
type ChartArtifact struct {
	Name, Version string
	// Digest is that of the package (.tgz), "sha256:…"; "" where an index does not
	// tell it. Of a chart in a registry it is the digest of the chart's layer.
	Digest string
	// Address is where the package is: an absolute URL without credentials, or
	// "host[:port]/repository:tag" of a registry.
	Address  string
	Manifest string    // OCI: digest of the manifest
	Created  time.Time // zero when not told
	Verified string    // message of a successful verification; "" when none was asked for
}

// BucketObject is one object of a bucket.
type BucketObject struct {
	Key  string // as the bucket has it, Prefix included
	ETag string // without quotes; changes with the content
	Size int64  // bytes; -1 when the listing does not tell it
}
