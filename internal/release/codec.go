package release

import (
	"bytes"
	"container/list"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	rspb "helm.sh/helm/v4/pkg/release/v1"

	"plumb.dev/plumb/internal/model"
)

// Bounds of records.
const (
	// MaxPayload is what fits into a Secret, in bytes.
	MaxPayload = 1 << 20
	// maxRecord is what a record may unpack to, in bytes. Text packs well, but a
	// megabyte of zeros is a bomb.
	maxRecord = 64 << 20
)

// Codec writes and reads the records of Helm's storage. It remembers charts, up
// to a number of bytes, so that the records of many releases share one. It may be
// used by several goroutines.
type Codec struct {
	budget int64

	mu    sync.Mutex
	size  int64
	known map[string]*list.Element
	used  list.List // of *remembered, the last used first
}

type remembered struct {
	key   string
	chart *Chart
}

// NewCodec returns a codec that remembers about budget bytes of charts.
func NewCodec(budget int64) *Codec {
	return &Codec{budget: budget, known: map[string]*list.Element{}}
}

// Chart is the chart by the digest of the tree that it is in (and the version it
// gets, if it gets one), as load prepares it the first time.
func (c *Codec) Chart(key string, load func() (*Chart, error)) (*Chart, error) {
	key = "tree:" + key
	if chart := c.recall(key); chart != nil {
		return chart, nil
	}
	chart, err := load()
	if err != nil {
		return nil, err
	}
	chart = c.remember(contentKey(chart.json), chart)
	return c.remember(key, chart), nil
}

func contentKey(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

func (c *Codec) recall(key string) *Chart {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.known[key]
	if at == nil {
		return nil
	}
	c.used.MoveToFront(at)
	return at.Value.(*remembered).chart //nolint:forcetypeassert // the list holds nothing else
}

// remember keeps a chart by a key, and returns the one that is kept.
func (c *Codec) remember(key string, chart *Chart) *Chart {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at := c.known[key]; at != nil {
		c.used.MoveToFront(at)
		return at.Value.(*remembered).chart //nolint:forcetypeassert // the list holds nothing else
	}
	c.known[key] = c.used.PushFront(&remembered{key, chart})
	c.size += chart.size()
	for c.size > c.budget && c.used.Len() > 1 {
		last := c.used.Back()
		old := last.Value.(*remembered) //nolint:forcetypeassert // the list holds nothing else
		c.used.Remove(last)
		delete(c.known, old.key)
		c.size -= old.chart.size()
	}
	return chart
}

// body is a record without its chart.
type body struct {
	Name        string         `json:"name,omitempty"`
	Info        *rspb.Info     `json:"info,omitempty"`
	Config      map[string]any `json:"config,omitempty"`
	Manifest    string         `json:"manifest,omitempty"`
	Hooks       []*rspb.Hook   `json:"hooks,omitempty"`
	Version     int            `json:"version,omitempty"`
	Namespace   string         `json:"namespace,omitempty"`
	ApplyMethod string         `json:"apply_method,omitempty"`
}

// Encode is a record as Helm's drivers store it: base64 of gzip of JSON. The
// chart comes first and was compressed before; the rest follows as further blocks
// of the same stream. A record that does not fit into a Secret is a *model.Fault.
func (c *Codec) Encode(r *Record) ([]byte, error) {
	rest, err := json.Marshal(&body{
		Name: r.Name, Info: &r.Info, Config: r.Config, Manifest: r.Manifest, Hooks: r.Hooks,
		Version: r.Version, Namespace: r.Namespace, ApplyMethod: r.ApplyMethod,
	})
	if err != nil {
		return nil, fmt.Errorf("the record of release %s cannot be encoded", r) // the cause may tell a value
	}
	rest = rest[1:] // it goes on where the chart ended
	begin, err := r.Chart.pack()
	if err != nil {
		return nil, fmt.Errorf("the chart of release %s cannot be compressed: %w", r, err)
	}
	payload, err := fast(begin, rest)
	if err == nil && len(payload) > MaxPayload {
		payload, err = small(r.Chart, rest)
	}
	if err != nil {
		return nil, fmt.Errorf("the record of release %s cannot be compressed: %w", r, err)
	}
	if len(payload) > MaxPayload {
		return nil, &model.Fault{
			Reason:  "ReleaseTooLarge",
			Message: fmt.Sprintf("the record of release %s has %d bytes, and a Secret holds %d", r, len(payload), MaxPayload),
			Advice:  "take files out of the chart that its templates do not need, with .helmignore, or split the chart",
		}
	}
	return payload, nil
}

// gzipHead begins a stream that was deflated, without name and time.
var gzipHead = []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}

// writers are compressors of the rest of records; one of them takes a megabyte.
var writers = sync.Pool{New: func() any {
	w, err := flate.NewWriter(io.Discard, flate.BestSpeed+2)
	if err != nil {
		return err
	}
	return w
}}

// fast joins the compressed chart with the rest.
func fast(begin prefix, rest []byte) ([]byte, error) {
	var out bytes.Buffer
	out.Grow(len(gzipHead) + len(begin.blocks) + len(rest)/3 + 64)
	out.Write(gzipHead)
	out.Write(begin.blocks)
	w, ok := writers.Get().(*flate.Writer)
	if !ok {
		return nil, errors.New("no compressor")
	}
	defer writers.Put(w)
	w.Reset(&out)
	if _, err := w.Write(rest); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	tail := binary.LittleEndian.AppendUint32(nil, crc32.Update(begin.sum, crc32.IEEETable, rest))
	out.Write(binary.LittleEndian.AppendUint32(tail, begin.length+uint32(len(rest)))) //nolint:gosec // gzip wants the length modulo 2^32
	return inBase64(out.Bytes()), nil
}

// small compresses the whole record as well as it goes.
func small(chart *Chart, rest []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	for _, part := range [][]byte{[]byte(chartOpens), chart.json, []byte(chartCloses), rest} {
		if _, err := w.Write(part); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return inBase64(out.Bytes()), nil
}

func inBase64(raw []byte) []byte {
	out := make([]byte, base64.StdEncoding.EncodedLen(len(raw)))
	base64.StdEncoding.Encode(out, raw)
	return out
}

// errRecord is all that is told of a record that cannot be read: causes may tell
// what is in it.
var errRecord = errors.New("it is not a release that Helm 3 or 4 wrote, or it is damaged")

// Decode reads what Encode, or a driver of Helm 3 or 4, has written.
func (c *Codec) Decode(payload []byte) (*Record, error) {
	if len(payload) > 2*MaxPayload {
		return nil, errRecord
	}
	raw := make([]byte, base64.StdEncoding.DecodedLen(len(payload)))
	n, err := base64.StdEncoding.Decode(raw, payload)
	if err != nil {
		return nil, errRecord
	}
	if raw, err = unpack(raw[:n]); err != nil {
		return nil, err
	}
	var found struct {
		body
		Chart json.RawMessage `json:"chart"`
	}
	if json.Unmarshal(raw, &found) != nil || found.Name == "" || found.Version < 1 || found.Info == nil {
		return nil, errRecord
	}
	r := &Record{
		Name: found.Name, Namespace: found.Namespace, Version: found.Version, Config: found.Config, Manifest: found.Manifest,
		Info: *found.Info, ApplyMethod: found.ApplyMethod,
	}
	for _, h := range found.Hooks {
		if h != nil {
			r.Hooks = append(r.Hooks, h)
		}
	}
	r.Chart, err = c.chartOf(found.Chart)
	return r, err
}

// unpack undoes gzip; what was stored before Helm compressed is as it is.
func unpack(raw []byte) ([]byte, error) {
	if !bytes.HasPrefix(raw, gzipHead[:3]) {
		return raw, nil
	}
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, errRecord
	}
	out, err := io.ReadAll(io.LimitReader(z, maxRecord+1))
	if err != nil {
		return nil, errRecord
	}
	if len(out) > maxRecord {
		return nil, fmt.Errorf("it unpacks to more than %d bytes", maxRecord)
	}
	return out, nil
}

// chartOf is the chart of a record that was read; equal ones are one.
func (c *Codec) chartOf(raw json.RawMessage) (*Chart, error) {
	key := contentKey(raw)
	if chart := c.recall(key); chart != nil {
		return chart, nil
	}
	chart := &Chart{json: bytes.Clone(raw)}
	if len(raw) == 0 {
		chart.json = []byte("null")
	}
	var head struct {
		Metadata json.RawMessage `json:"metadata"`
	}
	if json.Unmarshal(chart.json, &head) != nil {
		return nil, errRecord
	}
	if len(head.Metadata) > 0 && json.Unmarshal(head.Metadata, &chart.metadata) != nil {
		return nil, errRecord
	}
	return c.remember(key, chart), nil
}
