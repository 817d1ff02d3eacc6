package sidecar

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"go.uber.org/zap"

	"github.com/semantic-pod/semantic/logchain"
	"github.com/semantic-pod/semantic/telemetry"
)

// archive takes a rotated file through its steps: copy its error lines, compress,
// prove that the copy says the same, list it in the manifest, and only then let the
// file go. Before the entry nothing counts: all is done again from the file. After
// it only the last step is left.
func (a *archiver) archive(ctx context.Context, f file) error {
	src, err := lockReleased(f.path)
	if err != nil {
		return err
	}
	defer src.Close()
	if err := a.trim(src, f); err != nil {
		return err
	}
	path := filepath.Join(a.dir, f.archiveName())
	listed, isListed := a.manifest.File(f.archiveName())
	if isListed {
		sum, _, err := logchain.HashFile(ctx, path)
		if err == nil && sum == listed.ZstSHA256 {
			return a.letGo(f, *listed.File)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	what, err := a.survey(ctx, src, f, surveying{errors: !isListed})
	if err != nil {
		return err
	}
	if what.Size == 0 && logchain.HoldsErrors(f.log) {
		return os.Remove(f.path) // a crash left it before its first line was vouched for
	}
	if isListed && what.SHA256 != listed.SHA256 {
		return fmt.Errorf("it is not what entry %d of the manifest says, and its compressed copy is damaged; both are left alone", listed.N)
	}
	if err := a.pack(ctx, src, path, &what); err != nil {
		return err
	}
	a.at("list")
	if err := a.manifest.Append(logchain.Entry{Kind: logchain.Archived, Time: a.now(), Name: f.archiveName(), File: &what}); err != nil {
		return err
	}
	a.errorLines.AddInt64(int64(what.Errors))
	return a.letGo(f, what)
}

// surveying says how a file is surveyed.
type surveying struct {
	errors  bool // its error lines are copied
	mayLose bool // even if a full disk does not take them
}

// survey reads the file and finds what its entry says of it.
func (a *archiver) survey(ctx context.Context, src io.ReadSeeker, f file, how surveying) (logchain.File, error) {
	a.at("survey")
	if _, err := src.Seek(0, io.SeekStart); err != nil {
		return logchain.File{}, err
	}
	var sink *errorSink
	if how.errors && a.limits.errors > 0 && !logchain.HoldsErrors(f.log) {
		sink = &errorSink{archiver: a, log: logchain.ErrorsLog(f.log), mayLose: how.mayLose}
		defer sink.abandon()
	}
	s := logchain.NewSurvey(sink.taker())
	if err := a.copyBeating(ctx, s, src); err != nil {
		return logchain.File{}, err
	}
	what := s.File()
	return what, sink.finish(&what)
}

// copyBeating copies all of src, and tells health that it moves.
func (a *archiver) copyBeating(ctx context.Context, dst io.Writer, src io.Reader) error {
	buf := make([]byte, 256<<10)
	for {
		n, err := io.ReadFull(src, buf)
		if n > 0 {
			if _, err := dst.Write(buf[:n]); err != nil {
				return err
			}
		}
		a.duty.beat()
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		}
	}
}

// pack compresses src to path and proves the copy against what was found in src.
func (a *archiver) pack(ctx context.Context, src io.ReadSeeker, path string, what *logchain.File) error {
	part := path + logchain.PartEnding
	a.at("compress")
	err := compress(ctx, src, part, a.duty.beat)
	if err == nil {
		a.at("verify")
		what.ZstSize, what.ZstSHA256, err = verify(ctx, part, what.SHA256, a.duty.beat)
	}
	if err != nil {
		os.Remove(part) // or the next pass does
		return err
	}
	a.at("name")
	if err := os.Rename(part, path); err != nil {
		return err
	}
	return logchain.SyncFolder(a.dir) // the file stays until its copy's name is on the disk
}

// letGo removes a file whose compressed copy is listed.
func (a *archiver) letGo(f file, what logchain.File) error {
	a.at("let go")
	if err := os.Remove(f.path); err != nil {
		return err
	}
	a.log.Info("log archived", zap.String("file", f.archiveName()), zap.Int64("bytes", what.Size), zap.Uint64("lines", what.Lines), zap.String("sha256", what.SHA256))
	return nil
}

// trim cuts off the piece of a line that a killed writer left; of a file of error
// lines what its sources' entries do not vouch for.
func (a *archiver) trim(src *os.File, f file) error {
	if logchain.HoldsErrors(f.log) {
		info, err := src.Stat()
		if err != nil {
			return err
		}
		if end, known := a.manifest.ErrorsEnd(f.name()); known && end < info.Size() {
			return src.Truncate(end)
		}
	}
	_, cut, err := telemetry.CutTornLine(src)
	if err != nil {
		return err
	}
	if cut > 0 {
		a.cut.Inc()
		a.log.Warn("piece of an unacknowledged line cut off a rotated log", zap.String("file", f.path), zap.Int64("bytes", cut))
	}
	return nil
}

// adopt lists a compressed file that has no entry: an earlier version made it, or
// the manifest was lost. The entry says that nobody saw it being made.
func (a *archiver) adopt(ctx context.Context, f file) error {
	if _, listed := a.manifest.File(f.name()); listed {
		return nil
	}
	a.at("adopt")
	what, err := a.surveyArchive(ctx, f.path)
	if err != nil {
		return err
	}
	what.Adopted = true
	if err := a.manifest.Append(logchain.Entry{Kind: logchain.Archived, Time: a.now(), Name: f.name(), File: &what}); err != nil {
		return err
	}
	a.log.Warn("compressed log without an entry listed in the manifest as it was found", zap.String("file", f.path), zap.String("sha256", what.SHA256))
	return nil
}
