package keys

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// fields are those of an entry that have one value, and how each is read.
var fields = map[string]func(e *Entry, text string) error{
	"name":                func(e *Entry, text string) error { e.Name = text; return checkName(text) },
	"tenant":              func(e *Entry, text string) error { e.Tenant = text; return checkName(text) },
	"sha256":              func(e *Entry, text string) error { return readDigest(&e.Digest, text) },
	"created":             func(e *Entry, text string) error { return readTime(&e.Created, text) },
	"expires":             func(e *Entry, text string) error { return readTime(&e.Expires, text) },
	"revoked":             func(e *Entry, text string) error { return readTime(&e.Revoked, text) },
	"requests_per_second": func(e *Entry, text string) error { return readRate(&e.Limits.RequestsPerSecond, text) },
	"burst":               func(e *Entry, text string) error { return readCount(&e.Limits.Burst, text, 0) },
	"tokens_per_minute":   func(e *Entry, text string) error { return readCount(&e.Limits.TokensPerMinute, text, 1) },
	"max_concurrent":      func(e *Entry, text string) error { return readCount(&e.Limits.MaxConcurrent, text, 1) },
	"admin":               func(e *Entry, text string) error { return readBool(&e.Admin, text) },
}

// required are the fields that no entry can do without.
var required = []string{"name", "tenant", "sha256"}

func readDigest(d *Digest, text string) error {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(d) {
		return fmt.Errorf("expected the 64 hexadecimal digits of a SHA-256, got a text of %d characters", len(text))
	}
	copy(d[:], b)
	return nil
}

func readTime(t *time.Time, text string) error {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		at, err := time.Parse(layout, text)
		// A year before 1970 would be the zero time or a negative one: a typing error.
		if err == nil && at.Year() >= 1970 {
			*t = at.UTC()
			return nil
		}
	}
	return fmt.Errorf("expected a time such as 2026-01-02T03:04:05Z or a date such as 2026-01-02, got %s", quoted(text))
}

var errLeaveOut = errors.New("expected a number above 0: leave the line out for no limit")

func readRate(v *float64, text string) error {
	rate, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return fmt.Errorf("expected a number, got %s", quoted(text))
	}
	if rate == 0 {
		return errLeaveOut
	}
	*v = rate
	return nil
}

func readCount[T int | int64](v *T, text string, least int64) error {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return fmt.Errorf("expected a whole number, got %s", quoted(text))
	}
	if n < least {
		return errLeaveOut
	}
	*v = T(n)
	return nil
}

func readBool(v *bool, text string) error {
	if text != "true" && text != "false" {
		return fmt.Errorf("expected true or false, got %s", quoted(text))
	}
	*v = text == "true"
	return nil
}
