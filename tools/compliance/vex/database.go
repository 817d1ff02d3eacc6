package vex

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// probeTimeout bounds the question whether a database answers.
const probeTimeout = 20 * time.Second

// findDatabase makes a URL of a folder, and sees that a database is there: govulncheck
// reads the whole program before it tells that there is none.
func findDatabase(ctx context.Context, at string) (string, error) {
	if at == "" {
		return "", fmt.Errorf("%w is given: set GOVULNDB to its folder or URL", ErrNoDatabase)
	}
	if !strings.Contains(at, "://") {
		folder, err := filepath.Abs(at)
		if err != nil {
			return "", err
		}
		at = (&url.URL{Scheme: "file", Path: filepath.ToSlash(folder)}).String()
	}
	u, err := url.Parse(at)
	if err != nil {
		return "", fmt.Errorf("GOVULNDB=%q is neither a folder nor a URL: %w", at, err)
	}
	switch u.Scheme {
	case "file":
		if _, err := os.Stat(filepath.Join(filepath.FromSlash(u.Path), "index", "modules.json")); err != nil {
			return "", fmt.Errorf("%w at GOVULNDB=%s: %w", ErrNoDatabase, at, err)
		}
	case "http", "https":
		if err := ask(ctx, strings.TrimRight(at, "/")+"/index/modules.json.gz"); err != nil {
			return "", fmt.Errorf("%w at GOVULNDB=%s: %w", ErrNoDatabase, at, err)
		}
	default:
		return "", fmt.Errorf("GOVULNDB=%q: the scheme %q is none of http, https and file", at, u.Scheme)
	}
	return at, nil
}

func ask(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodHead, address, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	if err := response.Body.Close(); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", address, response.Status)
	}
	return nil
}
