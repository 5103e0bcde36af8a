package cli

import (
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/term"
)

// terminal prints progress with the marks that flux users know, and nothing that
// a terminal would act on: much of it is what others wrote. It may be used from
// several goroutines.
type terminal struct {
	mu    sync.Mutex
	w     io.Writer
	color bool
}

func newTerminal(w io.Writer, getenv func(string) string) *terminal {
	return &terminal{w: w, color: colored(w, getenv)}
}

// colored reports whether colours may be written: on a terminal, unless the
// user objects (https://no-color.org) or the terminal is dumb.
func colored(w io.Writer, getenv func(string) string) bool {
	file, ok := w.(*os.File)
	return ok && getenv("NO_COLOR") == "" && getenv("TERM") != "dumb" && term.IsTerminal(int(file.Fd()))
}

type color string

const (
	noColor color = ""
	red     color = "31"
	green   color = "32"
	yellow  color = "33"
	blue    color = "34"
	faint   color = "2"
)

// paint wraps s in a colour, where enabled.
func paint(enabled bool, c color, s string) string {
	if !enabled || c == noColor || s == "" {
		return s
	}
	return "\x1b[" + string(c) + "m" + s + "\x1b[0m"
}

func (t *terminal) line(c color, mark, format string, args []any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	// A progress line that cannot be written has no other place to go.
	_, _ = fmt.Fprintln(t.w, paint(t.color, c, mark)+" "+printable(fmt.Sprintf(format, args...)))
}

// action says what is about to be done.
func (t *terminal) action(format string, args ...any) { t.line(blue, "►", format, args) }

// waiting says what is being waited for.
func (t *terminal) waiting(format string, args ...any) { t.line(blue, "◎", format, args) }

// success says what has been done.
func (t *terminal) success(format string, args ...any) { t.line(green, "✔", format, args) }

// failure says what went wrong.
func (t *terminal) failure(format string, args ...any) { t.line(red, "✗", format, args) }

// warning says what the user should know.
func (t *terminal) warning(format string, args ...any) { t.line(yellow, "⚠", format, args) }

// plain prints a line without a mark.
func (t *terminal) plain(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, _ = fmt.Fprintln(t.w, printable(fmt.Sprintf(format, args...)))
}
