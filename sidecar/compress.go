package sidecar

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"

	"github.com/semantic-pod/semantic/logchain"
)

// frameBytes of a log make one zstd frame, which can be decompressed by itself.
const frameBytes = 2 << 20

// compress writes src as zstd frames to a new file at path, on the disk when it
// returns.
func compress(ctx context.Context, src io.ReadSeeker, path string, beat func()) error {
	if _, err := src.Seek(0, io.SeekStart); err != nil {
		return err
	}
	dst, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, archiveMode)
	if err != nil {
		return err
	}
	err = writeFrames(ctx, src, dst, beat)
	if err == nil {
		err = dst.Sync()
	}
	return errors.Join(err, dst.Close())
}

func writeFrames(ctx context.Context, src io.Reader, dst io.Writer, beat func()) error {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(frameBytes),
		zstd.WithLowerEncoderMem(true), zstd.WithZeroFrames(true))
	if err != nil {
		return err
	}
	in, out := make([]byte, frameBytes), make([]byte, 0, frameBytes/2)
	for first := true; ; first = false {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.ReadFull(src, in)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		if n == 0 && !first { // an empty file has one empty frame
			return nil
		}
		out = enc.EncodeAll(in[:n], out[:0])
		if _, err := dst.Write(out); err != nil {
			return err
		}
		beat()
		if n < len(in) {
			return nil
		}
	}
}

// verify decompresses the file, compares the SHA-256 of what it says, and returns
// the size and the SHA-256 of the compressed file itself.
func verify(ctx context.Context, path, want string, beat func()) (size int64, sum string, err error) {
	said := sha256.New()
	size, sum, err = decompress(ctx, path, said, beat)
	if err != nil {
		return 0, "", fmt.Errorf("cannot verify: %w", err)
	}
	if got := hex.EncodeToString(said.Sum(nil)); got != want {
		return 0, "", fmt.Errorf("cannot verify: the compressed copy has SHA-256 %s, the log has %s", got, want)
	}
	return size, sum, nil
}

// decompress writes what a compressed file says to dst.
func decompress(ctx context.Context, path string, dst io.Writer, beat func()) (size int64, sum string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, "", err
	}
	defer f.Close()
	stored := sha256.New()
	dec, err := zstd.NewReader(io.TeeReader(f, stored), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(logchain.MaxWindow))
	if err != nil {
		return 0, "", err
	}
	defer dec.Close()
	for total := int64(0); ; {
		n, err := io.CopyN(dst, dec, frameBytes)
		total += n
		beat()
		if errors.Is(err, io.EOF) {
			break
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			return 0, "", fmt.Errorf("after %d bytes: %w", total, err)
		}
	}
	info, err := f.Stat()
	if err != nil {
		return 0, "", err
	}
	return info.Size(), hex.EncodeToString(stored.Sum(nil)), nil
}

// surveyArchive finds what the entry of a compressed file says of it.
func (a *archiver) surveyArchive(ctx context.Context, path string) (logchain.File, error) {
	s := logchain.NewSurvey(nil)
	size, sum, err := decompress(ctx, path, s, a.duty.beat)
	if err != nil {
		return logchain.File{}, err
	}
	what := s.File()
	what.ZstSize, what.ZstSHA256 = size, sum
	return what, nil
}
