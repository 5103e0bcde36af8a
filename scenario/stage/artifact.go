package stage

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Download gets what is served for an artifact, and returns its digest and what
// it holds: the paths of the files of an archive, one to a line, or else the
// content as it is.
func Download(ctx context.Context, url string) (digest, holds string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", "", err
	}
	content, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return "", "", err
	}
	if response.StatusCode != http.StatusOK {
		return "", "", fmt.Errorf("%s: %s", url, response.Status)
	}
	sum := sha256.Sum256(content)
	digest = "sha256:" + hex.EncodeToString(sum[:])
	unzipped, err := gzip.NewReader(bytes.NewReader(content))
	if errors.Is(err, gzip.ErrHeader) {
		return digest, string(content), nil
	}
	if err != nil {
		return "", "", err
	}
	var files []string
	for archive := tar.NewReader(unzipped); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return digest, strings.Join(files, "\n"), nil
		}
		if err != nil {
			return "", "", err
		}
		if header.Typeflag == tar.TypeReg {
			files = append(files, header.Name)
		}
	}
}
