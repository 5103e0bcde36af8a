package controlplane

import (
	"bytes"
	"io"
	"os"
	"strings"
	"sync"
)

// tailLimit bounds what is kept of a child's standard error.
const tailLimit = 4 << 10

// tail keeps the end of what is written to it, or reads the end of a file that
// somebody else writes.
type tail struct {
	mu   sync.Mutex
	text []byte

	path string
	from int64
}

// Write keeps the last bytes.
func (t *tail) Write(text []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, text...)
	if excess := len(t.text) - tailLimit; excess > 0 {
		t.text = append(t.text[:0], t.text[excess:]...)
	}
	return len(text), nil
}

// readFrom quotes what is appended to a file from now on.
func (t *tail) readFrom(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	t.path, t.from = path, info.Size()
	return nil
}

// quote is the text for the end of an error message.
func (t *tail) quote() string {
	text := strings.TrimSpace(string(bytes.ToValidUTF8(t.content(), nil)))
	if text == "" {
		return ""
	}
	return "; its last words:\n" + text
}

func (t *tail) content() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.path == "" {
		return bytes.Clone(t.text)
	}
	file, err := os.Open(t.path)
	if err != nil {
		return nil
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil
	}
	start := max(t.from, info.Size()-tailLimit)
	text, err := io.ReadAll(io.NewSectionReader(file, start, tailLimit))
	if err != nil {
		return nil
	}
	return text
}
