package bucket

import (
	"context"
	"sync"
	"time"

	"plumb.dev/plumb/internal/model"
)

// earlier is how long before its end a token is replaced.
const earlier = 2 * time.Minute

// bearer is a token that is exchanged for another before it ends.
type bearer struct {
	exchange func(ctx context.Context) (model.Secret, time.Time, error)

	mu    sync.Mutex
	value model.Secret
	until time.Time
}

// token returns a token that is good for a while.
func (b *bearer) token(ctx context.Context) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.value.IsZero() || time.Now().After(b.until.Add(-earlier)) {
		value, until, err := b.exchange(ctx)
		if err != nil {
			return "", err
		}
		b.value, b.until = value, until
	}
	return string(b.value.Reveal()), nil
}
