// Package bucket is a client of object stores: everything that speaks the
// protocol of S3, Google Cloud Storage and Azure Blob Storage. It lists a bucket
// and opens its objects; which of them are fetched, and what is made of them, is
// the store's business.
//
// S3 is spoken through minio-go, which knows its many dialects. Google and Azure
// are asked by the two calls of their REST interfaces that are needed: their
// SDKs would bring gRPC, telemetry and a thousand files for the same two calls.
//
// Semantics are those of source-controller (internal/bucket/minio, gcp and
// azure): which credential is used, and what the entity tags in a revision look
// like.
package bucket
