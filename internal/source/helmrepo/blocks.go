package helmrepo

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

// maxPiece bounds one entry, and everything beside the entries, in bytes.
const maxPiece = 4 << 20

// blocks reads an index in block style, line by line:
//
//	apiVersion: v1
//	entries:
//	  apache:
//	  - version: 1.2.3
//	    urls:
//	    - https://example.com/apache-1.2.3.tgz
//
// What a line belongs to is told by its indentation alone, which YAML
// guarantees for block style. Everything else is errUnusual.
type blocks struct {
	in        *bufio.Reader
	collector *collector

	head      []byte // the lines outside of entries
	entry     []byte // the lines of the entry being read, its dash blanked
	inEntries bool
	inChart   bool
	seen      bool // any line but comments
	chart     int  // indentation of the names of charts; -1 until the first
	item      int  // indentation of the dashes of the chart; -1 until the first
}

func parseBlocks(in *bufio.Reader) (*index, error) {
	b := &blocks{in: in, collector: newCollector(), chart: -1}
	for {
		line, err := b.line()
		if len(line) > 0 {
			if err := b.take(line); err != nil {
				return nil, err
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	if err := b.endEntry(); err != nil {
		return nil, err
	}
	var h head
	if err := yaml.Unmarshal(b.head, &h); err != nil {
		return nil, errUnusual
	}
	return b.collector.result(h)
}

// line returns the next line with its end, which is valid until the next call.
func (b *blocks) line() ([]byte, error) {
	line, err := b.in.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return line, err
	}
	long := bytes.Clone(line)
	for errors.Is(err, bufio.ErrBufferFull) && len(long) <= maxPiece {
		line, err = b.in.ReadSlice('\n')
		long = append(long, line...)
	}
	if len(long) > maxPiece {
		return nil, fmt.Errorf("one line is longer than %d bytes", maxPiece)
	}
	return long, err
}

// measure returns the indentation of a line and what follows it; nothing
// follows in a line that is blank or a comment.
func measure(line []byte) (indent int, text []byte) {
	line = bytes.TrimRight(line, " \t\r\n")
	text = bytes.TrimLeft(line, " ")
	indent = len(line) - len(text)
	if len(text) > 0 && text[0] == '#' {
		text = nil
	}
	return indent, text
}

// take finds out what a line belongs to.
func (b *blocks) take(line []byte) error {
	indent, text := measure(line)
	switch {
	case len(text) == 0:
		return b.keep(line)
	case text[0] == '\t':
		return errUnusual
	case indent == 0 && text[0] != '-':
		return b.topLevel(line, text)
	case !b.inEntries && indent == 0:
		return b.dash(text)
	case !b.inEntries:
		return b.keep(line)
	case b.chart < 0:
		b.chart = indent
	}
	switch {
	case indent < b.chart:
		return errUnusual
	case indent == b.chart && !dashed(text):
		return b.beginChart(text)
	case !b.inChart:
		return errUnusual
	case b.item < 0:
		b.item = indent
	}
	switch {
	case indent < b.item:
		return errUnusual
	case indent == b.item:
		return b.beginEntry(line, indent, text)
	}
	return b.keep(line)
}

// dashed reports whether a text is an element of a list.
func dashed(text []byte) bool {
	return text[0] == '-' && (len(text) == 1 || text[1] == ' ')
}

// dash takes a line that begins with a dash in the first column, outside of
// entries: an element of a list, or the mark that begins a document.
func (b *blocks) dash(text []byte) error {
	if bytes.Equal(text, []byte("---")) && !b.seen {
		return nil
	}
	if !dashed(text) || !b.seen {
		return errUnusual
	}
	return b.keep(append(bytes.Clone(text), '\n'))
}

// topLevel takes a line that begins a member of the index.
func (b *blocks) topLevel(line, text []byte) error {
	if err := b.endEntry(); err != nil {
		return err
	}
	b.seen, b.inEntries, b.inChart = true, false, false
	key, value, ok := splitKey(text)
	switch {
	case !ok:
		return errUnusual
	case string(key) != "entries":
		return b.keep(line)
	case b.chart >= 0 || !empty(value, "{}"):
		return errUnusual
	}
	b.inEntries = len(value) == 0
	return nil
}

// beginChart takes the name of a chart.
func (b *blocks) beginChart(text []byte) error {
	if err := b.endEntry(); err != nil {
		return err
	}
	key, value, ok := splitKey(text)
	if !ok || !empty(value, "[]") {
		return errUnusual
	}
	b.collector.begin(string(key))
	b.inChart, b.item = len(value) == 0, -1
	return nil
}

// empty reports whether a value is not written, or written as nothing.
func empty(value []byte, nothing string) bool {
	return len(value) == 0 || string(value) == nothing || string(value) == "null"
}

// beginEntry takes the line with the dash of an entry.
func (b *blocks) beginEntry(line []byte, indent int, text []byte) error {
	if !dashed(text) {
		return errUnusual
	}
	if err := b.endEntry(); err != nil {
		return err
	}
	if err := b.keep(line); err != nil {
		return err
	}
	b.entry[indent] = ' '
	return nil
}

// keep adds a line to what is being read.
func (b *blocks) keep(line []byte) error {
	piece := &b.head
	if b.inEntries {
		if piece = &b.entry; !b.inChart {
			return nil // a comment before the first chart
		}
	}
	if len(*piece)+len(line) > maxPiece {
		return fmt.Errorf("one entry is longer than %d bytes", maxPiece)
	}
	*piece = append(*piece, line...)
	return nil
}

// endEntry reads the entry whose lines are complete.
func (b *blocks) endEntry() error {
	lines := b.entry
	b.entry = b.entry[:0]
	if len(bytes.TrimSpace(lines)) == 0 {
		return nil
	}
	var e *entry
	if err := readEntry(lines, &e); err != nil {
		return err
	}
	b.collector.add(e)
	return nil
}

// splitKey cuts "key: value", where the key is a plain or quoted word. Comments
// after the value are cut off; a value that may hold one within quotes is left.
func splitKey(text []byte) (key, value []byte, ok bool) {
	if quote := text[0]; quote == '"' || quote == '\'' {
		end := bytes.IndexByte(text[1:], quote)
		if end < 0 || len(text) < end+3 || text[end+2] != ':' || bytes.IndexByte(text[1:end+1], '\\') >= 0 {
			return nil, nil, false
		}
		key, value = text[1:end+1], text[end+3:]
	} else {
		end := bytes.IndexByte(text, ':')
		if end <= 0 || !plainName(text[:end]) {
			return nil, nil, false
		}
		key, value = text[:end], text[end+1:]
	}
	if len(value) > 0 && value[0] != ' ' {
		return nil, nil, false
	}
	value = bytes.TrimLeft(value, " \t")
	switch {
	case len(value) == 0:
	case value[0] == '#':
		value = nil
	case value[0] != '"' && value[0] != '\'':
		if comment := bytes.Index(value, []byte(" #")); comment >= 0 {
			value = bytes.TrimRight(value[:comment], " \t")
		}
	}
	return key, value, true
}

// plainWord reports whether a text means itself in YAML, whatever it is read
// into: letters, digits and what stands in names, versions and addresses.
func plainWord(text []byte) bool {
	if len(text) == 0 || !letter(text[0]) || !plainBytes(text, "") {
		return false
	}
	switch string(bytes.ToLower(text)) {
	case "null", "true", "false", "yes", "no", "on", "off", "y", "n":
		return false
	}
	return true
}

// plainBytes reports whether a text holds nothing but letters, digits, more and
// marks that mean nothing within a plain text.
func plainBytes(text []byte, more string) bool {
	for _, c := range text {
		if !letter(c) && (c < '0' || c > '9') && strings.IndexByte("-._/+%=@~,&?()", c) < 0 && strings.IndexByte(more, c) < 0 {
			return false
		}
	}
	return true
}

// plainName reports whether a text that may begin with a digit, as the name of
// a chart does, means itself: one of its letters stands in no number.
func plainName(text []byte) bool {
	return plainWord(text) || plainBytes(text, "") && text[0] >= '0' && text[0] <= '9' && bytes.ContainsAny(text, "ghijklmnpqrstuvwyz")
}

func letter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

// readEntry reads the lines of one entry, in which only a few members matter.
// Those in plain style, which are nearly all, are taken as they stand; the
// others are left to the YAML library.
func readEntry(lines []byte, e **entry) error {
	if strings.IndexByte("{[&*!?", firstOf(lines)) >= 0 {
		return decodeEntry(lines, e)
	}
	*e = &entry{}
	var rest []byte
	column := -1
	for len(lines) > 0 {
		member, following, err := nextMember(lines, &column)
		if err != nil {
			return decodeEntry(lines, e)
		}
		lines = following
		if len(member) == 0 {
			continue
		}
		if !(*e).takePlain(member) {
			rest = append(rest, member...)
		}
	}
	if len(rest) == 0 {
		return nil
	}
	return decodeEntry(rest, e)
}

// decodeEntry reads members by the library. What it cannot read may lean on
// other parts of the document.
func decodeEntry(lines []byte, e **entry) error {
	if err := yaml.Unmarshal(lines, e); err != nil {
		return errUnusual
	}
	return nil
}

// firstOf returns the first byte of the first line that says something.
func firstOf(lines []byte) byte {
	for len(lines) > 0 {
		line, following := cutLine(lines)
		if _, text := measure(line); len(text) > 0 {
			return text[0]
		}
		lines = following
	}
	return 0
}

func cutLine(lines []byte) (line, following []byte) {
	if end := bytes.IndexByte(lines, '\n'); end >= 0 {
		return lines[:end+1], lines[end+1:]
	}
	return lines, nil
}

// nextMember cuts the lines of the next member off, which begin at the column.
// Members that do not matter, comments and blank lines come back as nothing.
func nextMember(lines []byte, column *int) (member, following []byte, err error) {
	line, following := cutLine(lines)
	indent, text := measure(line)
	if len(text) == 0 {
		return nil, following, nil
	}
	if *column < 0 {
		*column = indent
	}
	key, _, ok := splitKey(text)
	if indent != *column || !ok || string(key) == "<<" {
		return nil, nil, errUnusual
	}
	end := len(line)
	for end < len(lines) {
		line, _ := cutLine(lines[end:])
		indent, text := measure(line)
		if len(text) > 0 && (indent < *column || indent == *column && !dashed(text)) {
			break
		}
		end += len(line)
	}
	if !matters(key) {
		return nil, lines[end:], nil
	}
	return lines[:end], lines[end:], nil
}

// matters reports whether an entry has a field for a member.
func matters(key []byte) bool {
	switch string(key) {
	case "apiVersion", "name", "version", "type", "urls", "created", "digest", "maintainers", "dependencies":
		return true
	}
	return false
}

// takePlain takes a member that is written in plain style, or reports false.
func (e *entry) takePlain(member []byte) bool {
	first, following := cutLine(member)
	_, text := measure(first)
	key, value, _ := splitKey(text)
	switch string(key) {
	case "urls":
		return len(value) == 0 && e.takeAddresses(following)
	case "maintainers", "dependencies":
		// They matter only where one is null or has an alias.
		return len(value) == 0 && harmless(following)
	}
	if len(bytes.TrimSpace(following)) > 0 {
		return false
	}
	plain, ok := scalar(value)
	if !ok {
		return false
	}
	switch string(key) {
	case "apiVersion":
		e.APIVersion = string(plain)
	case "name":
		e.Name = string(plain)
	case "version":
		e.Version = string(plain)
	case "type":
		e.Type = string(plain)
	case "digest":
		e.Digest = string(plain)
	case "created":
		at, err := time.Parse(time.RFC3339Nano, string(plain))
		if err != nil {
			return false
		}
		e.Created = at
	}
	return true
}

// scalar returns what a value in plain style or simple quotes means as a text.
func scalar(value []byte) ([]byte, bool) {
	if len(value) == 0 {
		return nil, false
	}
	if quote := value[0]; quote == '"' || quote == '\'' {
		if len(value) < 2 || value[len(value)-1] != quote {
			return nil, false
		}
		inner := value[1 : len(value)-1]
		return inner, bytes.IndexByte(inner, quote) < 0 && bytes.IndexByte(inner, '\\') < 0
	}
	return value, plainName(value) || plainVersion(value) || plainDigest(value)
}

// plainVersion reports whether a text is a version of three parts or more,
// which no number is.
func plainVersion(text []byte) bool {
	dots := 0
	for i, c := range text {
		switch {
		case c == '.':
			dots++
		case c >= '0' && c <= '9':
		case i > 0 && dots >= 2 && (letter(c) || c == '-' || c == '+'):
		default:
			return false
		}
	}
	return dots >= 2
}

// plainDigest reports whether a text is a digest that cannot be a number: one
// of its letters is none of those that stand in numbers.
func plainDigest(text []byte) bool {
	if len(text) != 64 {
		return false
	}
	telling := false
	for _, c := range text {
		switch {
		case c >= '0' && c <= '9' || c == 'e' || c == 'b':
		case c == 'a' || c == 'c' || c == 'd' || c == 'f':
			telling = true
		default:
			return false
		}
	}
	return telling
}

// takeAddresses takes a list of addresses in plain style or simple quotes.
func (e *entry) takeAddresses(lines []byte) bool {
	var all []string
	for len(lines) > 0 {
		line, following := cutLine(lines)
		lines = following
		_, text := measure(line)
		if len(text) == 0 {
			continue
		}
		if !dashed(text) {
			return false
		}
		address := bytes.TrimLeft(text[1:], " ")
		if !plainAddress(address) {
			var ok bool
			if address, ok = scalar(address); !ok {
				return false
			}
		}
		all = append(all, string(address))
	}
	e.URLs = all
	return len(all) > 0
}

// plainAddress reports whether an address with a scheme means itself in YAML.
func plainAddress(text []byte) bool {
	scheme, rest, ok := bytes.Cut(text, []byte("://"))
	return ok && plainWord(scheme) && len(rest) > 0 && rest[len(rest)-1] != ':' && plainBytes(rest, ":")
}

// harmless reports whether a list of objects surely holds no null and no alias.
func harmless(lines []byte) bool {
	column := -1
	for len(lines) > 0 {
		line, following := cutLine(lines)
		lines = following
		indent, text := measure(line)
		if len(text) == 0 {
			continue
		}
		if column < 0 {
			column = indent
		}
		if dashed(text) {
			text = bytes.TrimLeft(text[1:], " ")
		}
		if len(text) == 0 {
			return false
		}
		if indent > column && plainName(text) {
			continue // such as a tag
		}
		if key, _, ok := splitKey(text); !ok || string(key) == "alias" {
			return false
		}
	}
	return column >= 0
}
