package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"plumb.dev/plumb/internal/model"
)

// applicationID marks a database as ours ("Plmb").
const applicationID = 0x506c6d62

// migrations bring the schema from one version to the next; user_version says
// how many have run. They are only ever appended to.
var migrations = []string{
	`CREATE TABLE baselines (
		cluster          TEXT NOT NULL,
		object           TEXT NOT NULL, -- group/kind/namespace/name
		owner            TEXT NOT NULL, -- likewise
		version          TEXT NOT NULL,
		uid              TEXT NOT NULL,
		resource_version TEXT NOT NULL,
		inputs           TEXT NOT NULL,
		paths            TEXT NOT NULL,
		cut              TEXT NOT NULL,
		PRIMARY KEY (cluster, object)
	) WITHOUT ROWID;
	CREATE TABLE states (
		delivery TEXT NOT NULL PRIMARY KEY,
		state    BLOB NOT NULL
	) WITHOUT ROWID;
	CREATE TABLE history (
		id       INTEGER PRIMARY KEY AUTOINCREMENT,
		delivery TEXT NOT NULL,
		at       INTEGER NOT NULL, -- nanoseconds since 1970
		revision TEXT NOT NULL,
		digest   TEXT NOT NULL,
		result   TEXT NOT NULL,
		message  TEXT NOT NULL,
		actor    TEXT NOT NULL,
		changes  TEXT NOT NULL, -- JSON
		omitted  INTEGER NOT NULL,
		bytes    INTEGER NOT NULL
	);
	CREATE INDEX history_of_delivery ON history (delivery, id);`,
	`ALTER TABLE history ADD COLUMN action TEXT NOT NULL DEFAULT '';
	ALTER TABLE history ADD COLUMN address TEXT NOT NULL DEFAULT '';`,
	// Of what was applied before nobody knows: it counts as sealed.
	`ALTER TABLE baselines ADD COLUMN sealed INTEGER NOT NULL DEFAULT 1;`,
	// JSON: the commit, the chart.
	`ALTER TABLE history ADD COLUMN origin TEXT NOT NULL DEFAULT '';`,
}

// pageSize is SQLite's default.
const pageSize = 4096

// settingsOf are the pragmas of each connection. Memory: the page cache is held
// at one MiB, and the log is written back from a MiB on. With synchronous
// NORMAL a commit costs no fsync, and a power cut the last commits at most.
func settingsOf(maxBytes int64) []string {
	pragmas := []string{
		"journal_mode(WAL)",
		"synchronous(NORMAL)",
		"cache_size(-1024)",
		"wal_autocheckpoint(256)",
		"journal_size_limit(2097152)",
		"busy_timeout(5000)",
		"trusted_schema(OFF)",
	}
	if maxBytes > 0 {
		pragmas = append(pragmas, fmt.Sprintf("max_page_count(%d)", max(maxBytes/pageSize, 16)))
	}
	return pragmas
}

// openDatabase opens the file at path. What cannot be used is moved aside; the
// notice says so.
func openDatabase(ctx context.Context, path string, maxBytes int64) (db *sql.DB, notice string, err error) {
	if path == "" {
		db, err = connect(ctx, ":memory:", maxBytes)
		return db, "", asOpenFault(path, err)
	}
	if err := createPrivate(path); err != nil {
		return nil, "", asOpenFault(path, err)
	}
	db, err = connect(ctx, path, maxBytes)
	var unusable *unusableError
	if !errors.As(err, &unusable) {
		return db, "", asOpenFault(path, err)
	}
	aside, err := moveAside(path, unusable.suffix)
	if err != nil {
		return nil, "", asOpenFault(path, err)
	}
	if err := createPrivate(path); err != nil {
		return nil, "", asOpenFault(path, err)
	}
	db, err = connect(ctx, path, maxBytes)
	notice = fmt.Sprintf("journal %s %s: moved to %s and started anew; the history of runs is lost, and objects are compared once by dry run",
		path, unusable.why, aside)
	return db, notice, asOpenFault(path, err)
}

// unusableError is a file that has to make way for a new one.
type unusableError struct{ why, suffix string }

func (e *unusableError) Error() string { return e.why }

// createPrivate makes the file for us alone; the files beside it that SQLite
// makes take over its mode.
func createPrivate(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return file.Close()
}

// sidecars are the files that SQLite keeps beside a database.
var sidecars = []string{"-wal", "-shm", "-journal"}

// moveAside renames a database with its log. One set of files is kept for each
// suffix, so that they cannot fill the disk.
func moveAside(path, suffix string) (string, error) {
	aside := path + suffix
	for _, tail := range append([]string{""}, sidecars...) {
		if err := os.Remove(aside + tail); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		if err := os.Rename(path+tail, aside+tail); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return aside, nil
}

// connect opens a database, checks it and brings its schema up to date.
func connect(ctx context.Context, path string, maxBytes int64) (*sql.DB, error) {
	db, err := sql.Open("sqlite", dataSource(path, maxBytes))
	if err != nil {
		return nil, err
	}
	// One connection: one page cache, and a database in memory lives as long as it.
	db.SetMaxOpenConns(1)
	db.SetMaxIdleConns(1)
	db.SetConnMaxLifetime(0)
	db.SetConnMaxIdleTime(0)
	if err := prepare(ctx, db); err != nil {
		// The first error tells more than what closing says.
		_ = db.Close()
		return nil, err
	}
	return db, nil
}

func dataSource(path string, maxBytes int64) string {
	query := url.Values{"_pragma": settingsOf(maxBytes), "_txlock": {"immediate"}}
	if path == ":memory:" {
		return "file::memory:?" + query.Encode()
	}
	return (&url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: query.Encode()}).String()
}

func prepare(ctx context.Context, db *sql.DB) error {
	if err := check(ctx, db); err != nil {
		return damaged(err)
	}
	version, err := schemaVersion(ctx, db)
	if err != nil {
		return damaged(err)
	}
	if version > len(migrations) {
		return &unusableError{fmt.Sprintf("was written by a newer version of Plumb (schema %d, this one knows %d)", version, len(migrations)), ".newer"}
	}
	return damaged(migrate(ctx, db, version))
}

// check finds damage before anything relies on the content.
func check(ctx context.Context, db *sql.DB) error {
	var result string
	if err := db.QueryRowContext(ctx, `PRAGMA quick_check(1)`).Scan(&result); err != nil {
		return err
	}
	if result != "ok" {
		return &unusableError{"is damaged (" + strings.ReplaceAll(result, "\n", " ") + ")", ".damaged"}
	}
	return nil
}

// schemaVersion is how many migrations have run. A database of another
// application is not touched.
func schemaVersion(ctx context.Context, db *sql.DB) (int, error) {
	var application, version, tables int
	if err := db.QueryRowContext(ctx, `PRAGMA application_id`).Scan(&application); err != nil {
		return 0, err
	}
	if err := db.QueryRowContext(ctx, `PRAGMA user_version`).Scan(&version); err != nil {
		return 0, err
	}
	if err := db.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema`).Scan(&tables); err != nil {
		return 0, err
	}
	if application != applicationID && tables > 0 {
		return 0, errors.New("it is a database of another application")
	}
	return version, nil
}

// migrate runs the migrations from a version on, each in a transaction.
func migrate(ctx context.Context, db *sql.DB, from int) error {
	for version := from; version < len(migrations); version++ {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, fmt.Sprintf("%s; PRAGMA application_id = %d; PRAGMA user_version = %d",
			strings.TrimSuffix(migrations[version], ";"), applicationID, version+1))
		if err != nil {
			// The first error tells more than what undoing says.
			_ = tx.Rollback()
			return err
		}
		if err := tx.Commit(); err != nil {
			return err
		}
	}
	return nil
}

// damaged turns what SQLite says of a broken file into an unusableError.
func damaged(err error) error {
	switch code(err) {
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return &unusableError{"is damaged (" + err.Error() + ")", ".damaged"}
	}
	return err
}

// code is the primary result code of SQLite, or 0.
func code(err error) int {
	var failure *sqlite.Error
	if errors.As(err, &failure) {
		return failure.Code() & 0xff
	}
	return 0
}

func isFull(err error) bool { return code(err) == sqlite3.SQLITE_FULL }

func asOpenFault(path string, err error) error {
	if err == nil {
		return nil
	}
	return &model.Fault{
		Reason:  "StorageOperationFailed",
		Message: fmt.Sprintf("the journal %s cannot be opened: %v", path, err),
		Advice:  "give it a writable file on a local disk, or none to keep it in memory",
		Retry:   true,
		Err:     err,
	}
}
