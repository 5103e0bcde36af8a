package cli

import (
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// table is rows under a header, as kubectl prints them: upper-case headers,
// columns three spaces apart, nothing after the last.
type table struct {
	header   []string
	headless bool // the header only names the columns, it is not printed
	rows     [][]string
	color    bool
	widths   []int // of what was written before: later lines keep to it
}

const columnGap = "   "

// write prints the table. Cells are one line each whatever they hold.
func (t *table) write(w io.Writer) error {
	lines := make([][]string, 0, len(t.rows)+1)
	lines = append(lines, mapped(t.header, strings.ToUpper))
	for _, row := range t.rows {
		lines = append(lines, mapped(row, oneLine))
	}
	if t.headless {
		lines = lines[1:]
	}
	t.widths = columnWidths(lines, t.widths)
	var b strings.Builder
	for n, line := range lines {
		last := len(line) - 1
		for last >= 0 && line[last] == "" {
			last--
		}
		for i, cell := range line[:last+1] {
			c := noColor
			if n > 0 || t.headless {
				c = cellColor(t.header[i], cell)
			}
			b.WriteString(paint(t.color, c, cell))
			if i < last {
				b.WriteString(strings.Repeat(" ", t.widths[i]-utf8.RuneCountInString(cell)) + columnGap)
			}
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func mapped(cells []string, f func(string) string) []string {
	out := make([]string, len(cells))
	for i, cell := range cells {
		out[i] = f(cell)
	}
	return out
}

func columnWidths(lines [][]string, widths []int) []int {
	for _, line := range lines {
		for i, cell := range line {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	return widths
}

// cellColor marks the words that tell good from bad, in the columns that do.
func cellColor(column, cell string) color {
	switch column {
	case "Ready", "Health", "Type", "Sync status", "Health status", "Up to date", "Status", "Outcome":
	default:
		return noColor
	}
	switch cell {
	case "True", "Current", "Synced", "Healthy", "Succeeded", "Pruned":
		return green
	case "False", "Failed", "Warning", "NotFound", "Degraded", "Missing", "SyncFailed", "Error":
		return red
	case "Unknown", "InProgress", "Terminating", "OutOfSync", "Progressing", "Suspended", "Running", "PruneSkipped":
		return yellow
	}
	return noColor
}

// oneLine makes text from elsewhere safe for one line of a terminal: no line
// breaks, no control characters that could move the cursor or change colours.
func oneLine(s string) string {
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' || r == '\t' }), " ")
	return printable(s)
}

// printable drops control characters other than line breaks and tabs.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && (unicode.IsControl(r) || r == utf8.RuneError || unicode.Is(unicode.Bidi_Control, r)) {
			return -1
		}
		return r
	}, s)
}
