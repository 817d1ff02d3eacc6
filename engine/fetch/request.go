package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// fatalError is one that no second request mends.
type fatalError struct{ error }

func (e *fatalError) Unwrap() error { return e.error }

// all asks until the file is whole.
func (f *fetcher) all(ctx context.Context) error {
	f.kept = f.done
	for failures := 0; ; {
		before := f.done
		err := f.once(ctx)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("cannot fetch %s: %w; %d bytes are kept", place(f.URL), context.Cause(ctx), f.done)
		}
		var fatal *fatalError
		if errors.As(err, &fatal) {
			return fmt.Errorf("cannot fetch %s: %w", place(f.URL), fatal.error)
		}
		if failures++; f.done > before {
			failures = 1
		}
		if failures > f.Retries {
			return fmt.Errorf("cannot fetch %s: %w; %d bytes are kept, and gone on with the next time", place(f.URL), err, f.done)
		}
		select {
		case <-time.After(100 * time.Millisecond << min(failures-1, 7)):
		case <-ctx.Done():
		}
	}
}

// once asks for what is missing and takes what comes.
func (f *fetcher) once(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := time.AfterFunc(f.Stall, func() { cancel(fmt.Errorf("nothing came for %v", f.Stall)) })
	defer stalled.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.URL, nil)
	if err != nil {
		return &fatalError{withoutURL(err)}
	}
	if f.done > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", f.done))
	}
	req.Header.Set("Accept-Encoding", "identity")
	client := f.Client
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(req)
	if err != nil {
		return cause(ctx, withoutURL(err))
	}
	defer func() { _ = resp.Body.Close() }()
	if err := f.begin(resp); err != nil {
		return err
	}
	if _, err := io.Copy(f, tickingReader{resp.Body, func() { stalled.Reset(f.Stall) }}); err != nil {
		return cause(ctx, err)
	}
	if f.total >= 0 && f.done != f.total {
		return fmt.Errorf("%d bytes of %d came: %w", f.done, f.total, io.ErrUnexpectedEOF)
	}
	return nil
}

// begin makes the part ready for what an answer brings: the rest, or the whole again.
func (f *fetcher) begin(resp *http.Response) error {
	status := fmt.Errorf("the server answers %s", resp.Status)
	switch {
	case resp.StatusCode == http.StatusPartialContent:
		from, total, ok := contentRange(resp.Header.Get("Content-Range"))
		if !ok || from != f.done {
			if err := f.restart(); err != nil {
				return &fatalError{err}
			}
			return fmt.Errorf("the server sends another part than was asked for: Content-Range %q", resp.Header.Get("Content-Range"))
		}
		f.total = total
	case resp.StatusCode == http.StatusOK:
		if err := f.restart(); err != nil {
			return &fatalError{err}
		}
		f.total = resp.ContentLength
	case resp.StatusCode == http.StatusRequestedRangeNotSatisfiable && f.done > 0: // the part is longer than the file
		if err := f.restart(); err != nil {
			return &fatalError{err}
		}
		return status
	case resp.StatusCode == http.StatusRequestTimeout || resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500:
		return status
	default:
		return &fatalError{status}
	}
	return nil
}

// contentRange reads "bytes 5-9/10".
func contentRange(header string) (from, total int64, ok bool) {
	span, whole, found := strings.Cut(strings.TrimPrefix(header, "bytes "), "/")
	first, _, parted := strings.Cut(span, "-")
	from, err := strconv.ParseInt(first, 10, 64)
	if !found || !parted || err != nil {
		return 0, 0, false
	}
	if whole == "*" {
		return from, -1, true
	}
	total, err = strconv.ParseInt(whole, 10, 64)
	return from, total, err == nil
}

// cause is why a request ended: a stall says so itself.
func cause(ctx context.Context, err error) error {
	var fatal *fatalError
	if c := context.Cause(ctx); c != nil && !errors.As(err, &fatal) {
		return c
	}
	return err
}

// withoutURL drops the address from an error, since it may hold a secret.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// tickingReader tells of each read that brought something.
type tickingReader struct {
	r    io.Reader
	tick func()
}

func (t tickingReader) Read(b []byte) (int, error) {
	n, err := t.r.Read(b)
	if n > 0 {
		t.tick()
	}
	return n, err
}
