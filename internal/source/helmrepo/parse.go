package helmrepo

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"sigs.k8s.io/yaml"
)

// errUnusual is the error of an index that cannot be read piece by piece: it
// may be right all the same.
var errUnusual = errors.New("the index is written in a style that is not read piece by piece")

// parse reads an index, JSON or YAML, without ever holding more of it than one
// entry. Where its style does not allow that, whole returns it from the start,
// and it is parsed at once, if it has no more than loose bytes.
func parse(in io.Reader, whole func() (io.Reader, error), loose int64) (*index, error) {
	text := bufio.NewReaderSize(in, 64<<10)
	first, err := firstByte(text)
	switch {
	case errors.Is(err, io.EOF):
		return nil, errEmpty
	case err != nil:
		return nil, err
	}
	var x *index
	if first == '{' {
		x, err = parseJSON(text)
	} else {
		x, err = parseBlocks(text)
	}
	if !errors.Is(err, errUnusual) {
		return x, err
	}
	if err := drain(text); err != nil {
		return nil, err
	}
	return parseWhole(whole, loose)
}

// drain reads the rest, so that whoever copies the stream has all of it.
func drain(in io.Reader) error {
	_, err := io.Copy(io.Discard, in)
	return err
}

// firstByte tells what a text begins with, after blanks and a byte order mark,
// which it takes away.
func firstByte(text *bufio.Reader) (byte, error) {
	if mark, err := text.Peek(3); err == nil && bytes.Equal(mark, []byte("\xef\xbb\xbf")) {
		_, _ = text.Discard(len(mark))
	}
	for n := 1; ; n++ {
		seen, err := text.Peek(n)
		if len(seen) < n {
			if errors.Is(err, bufio.ErrBufferFull) {
				return 0, errUnusual
			}
			return 0, err
		}
		if c := seen[n-1]; c != ' ' && c != '\t' && c != '\n' && c != '\r' {
			return c, nil
		}
	}
}

// parseWhole parses an index at once, as Helm does.
func parseWhole(open func() (io.Reader, error), loose int64) (*index, error) {
	in, err := open()
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(in, loose+1))
	if err != nil {
		return nil, err
	}
	if int64(len(text)) > loose {
		return nil, fmt.Errorf("%w, and is larger than %d bytes: write it in block style, as \"helm repo index\" does", errUnusual, loose)
	}
	var w whole
	if err := yaml.Unmarshal(text, &w); err != nil {
		return nil, err
	}
	return fromWhole(&w)
}

// parseJSON reads an index in JSON, entry by entry.
func parseJSON(in io.Reader) (*index, error) {
	decoder := json.NewDecoder(in)
	c := newCollector()
	var h head
	err := members(decoder, func(key string) error {
		switch key {
		case "apiVersion":
			return decoder.Decode(&h.APIVersion)
		case "entries":
			return members(decoder, func(chart string) error { return parseJSONChart(decoder, c, chart) })
		}
		var skipped json.RawMessage
		return decoder.Decode(&skipped)
	})
	if err != nil {
		return nil, looksLikeYAML(err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, looksLikeYAML(err)
	}
	return c.result(h)
}

// looksLikeYAML tells a text that is no JSON, and may be YAML in flow style,
// from one that cannot be read and from one whose values are wrong.
func looksLikeYAML(err error) error {
	var syntax *json.SyntaxError
	if err == nil || errors.As(err, &syntax) {
		return errUnusual
	}
	return err
}

// errKind is the error of a value of the wrong kind.
var errKind = errors.New("it does not have the form of an index: a list or an object is something else")

// members calls read for each member of an object, which may be null.
func members(decoder *json.Decoder, read func(key string) error) error {
	return elements(decoder, '{', func() error {
		key, err := decoder.Token()
		if err != nil {
			return err
		}
		name, ok := key.(string)
		if !ok {
			return errKind
		}
		return read(name)
	})
}

func elements(decoder *json.Decoder, open json.Delim, read func() error) error {
	start, err := decoder.Token()
	switch {
	case err != nil:
		return err
	case start == nil:
		return nil
	case start != open:
		return errKind
	}
	for decoder.More() {
		if err := read(); err != nil {
			return err
		}
	}
	_, err = decoder.Token()
	return err
}

func parseJSONChart(decoder *json.Decoder, c *collector, chart string) error {
	c.begin(chart)
	return elements(decoder, '[', func() error {
		var e *entry
		if err := decoder.Decode(&e); err != nil {
			return err
		}
		c.add(e)
		return nil
	})
}
