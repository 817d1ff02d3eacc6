package objectstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"
)

// Object is what a list says of one object.
type Object struct {
	Key  string
	Size int64     // bytes
	Time time.Time // when it was written, by the store's clock
}

// Bucket is a store. Its methods may be called by many goroutines and end with their context,
// except that a file system may keep one waiting for as long as it likes.
type Bucket interface {
	// Create writes an object that must not be there: of all who create one of that key, one
	// succeeds, and the others get ErrExists. An object is there whole or not at all.
	Create(ctx context.Context, key string, body io.Reader) error
	// Open reads so many bytes of an object from a place on, all that follow if length is -1. It
	// returns ErrNotFound if there is no such object.
	Open(ctx context.Context, key string, at, length int64) (io.ReadCloser, error)
	// List returns all objects whose key has the prefix, which must end with a slash.
	List(ctx context.Context, prefix string) ([]Object, error)
	// Remove deletes an object; that there is none is no error.
	Remove(ctx context.Context, key string) error
	// Ping says whether the store answers.
	Ping(ctx context.Context) error
	Close() error
}

var (
	// ErrExists says that there is such an object already.
	ErrExists = errors.New("there is such an object")
	// ErrNotFound says that there is no such object.
	ErrNotFound = errors.New("there is no such object")
)

// Open opens the store of an address. It need not answer yet.
func Open(ctx context.Context, address string) (Bucket, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("cannot read the address %s: %w", address, err)
	}
	if u.Scheme == "file" {
		return openFolder(u), nil
	}
	return openRemote(ctx, address)
}
