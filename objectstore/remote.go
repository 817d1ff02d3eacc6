package objectstore

import (
	"context"
	"errors"
	"io"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
)

// partBytes is what a driver sends at once; one at a time, to stay small.
const partBytes = 8 << 20

// remote is a store behind one of the drivers of gocloud.dev/blob.
type remote struct{ bucket *blob.Bucket }

func openRemote(ctx context.Context, address string) (Bucket, error) {
	b, err := blob.OpenBucket(ctx, address)
	if err != nil {
		return nil, err
	}
	return remote{b}, nil
}

func (r remote) Create(ctx context.Context, key string, body io.Reader) error {
	ctx, abandon := context.WithCancel(ctx) // a writer whose context has ended writes nothing
	defer abandon()
	w, err := r.bucket.NewWriter(ctx, key, &blob.WriterOptions{
		IfNotExist: true, BufferSize: partBytes, MaxConcurrency: 1, ContentType: "application/octet-stream",
	})
	if err != nil {
		return plain(err)
	}
	if _, err := io.Copy(w, body); err != nil {
		abandon()
		closed := w.Close() // says that it was abandoned, or why it could not be written
		if gcerrors.Code(closed) == gcerrors.FailedPrecondition {
			return ErrExists
		}
		return plain(err)
	}
	return plain(w.Close())
}

func (r remote) Open(ctx context.Context, key string, at, length int64) (io.ReadCloser, error) {
	b, err := r.bucket.NewRangeReader(ctx, key, at, length, nil)
	if err != nil {
		return nil, plain(err)
	}
	return b, nil
}

func (r remote) List(ctx context.Context, prefix string) ([]Object, error) {
	var all []Object
	for list := r.bucket.List(&blob.ListOptions{Prefix: prefix}); ; {
		o, err := list.Next(ctx)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, plain(err)
		}
		all = append(all, Object{Key: o.Key, Size: o.Size, Time: o.ModTime})
	}
}

func (r remote) Remove(ctx context.Context, key string) error {
	if err := plain(r.bucket.Delete(ctx, key)); err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	return nil
}

// Ping lists one object: a bucket that is not there, or not ours, says so.
func (r remote) Ping(ctx context.Context) error {
	_, err := r.bucket.List(nil).Next(ctx)
	if errors.Is(err, io.EOF) {
		return nil
	}
	return plain(err)
}

func (r remote) Close() error { return r.bucket.Close() }

// plain turns a driver's error into ours where there is one.
func plain(err error) error {
	switch gcerrors.Code(err) {
	case gcerrors.FailedPrecondition:
		return ErrExists
	case gcerrors.NotFound:
		return ErrNotFound
	}
	return err
}
