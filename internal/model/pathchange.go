package model

// PathChangeKind is how one path differs between two trees of a source.
type PathChangeKind uint8

// The kinds of path changes.
const (
	// PathAdded: the path did not exist before. Everything below an added
	// directory is reported too.
	PathAdded PathChangeKind = iota + 1
	// PathRemoved: the path exists no longer. Everything below a removed
	// directory is reported too.
	PathRemoved
	// PathChanged: content, mode or link target of a file differ.
	PathChanged
	// PathListed: names or types of a directory's entries differ.
	PathListed
)

// PathChange is one path that differs between two trees of a source.
type PathChange struct {
	Path string // cleaned, slash separated, "" for the root
	Kind PathChangeKind
}
