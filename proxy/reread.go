package proxy

import (
	"context"
	"os"
	"syscall"
	"time"

	"go.uber.org/zap"
)

// rereadEvery is how often files of settings are looked at. Asking the kernel for
// changes would miss those behind a link, by which mounted secrets are replaced.
const rereadEvery = time.Second

// watchFiles calls read whenever one of the files has changed, until ctx ends. It
// waits until all have kept still from one look to the next: a certificate and its
// key are written one after the other. What read refuses stays as it was.
func (p *Proxy) watchFiles(ctx context.Context, setting string, read func() error, paths ...string) {
	if len(paths) == 0 || paths[0] == "" {
		return
	}
	seen := stampsOf(paths)
	p.loops.Go(func() {
		last := seen
		for tick(ctx, rereadEvery) {
			now := stampsOf(paths)
			if now != seen && now == last {
				seen = now
				p.reread(setting, read)
			}
			last = now
		}
	})
}

func (p *Proxy) reread(setting string, read func() error) {
	if err := read(); err != nil {
		p.log.Zap().Error("a changed file is refused; what was read before stays in force", zap.String("setting", setting), zap.Error(err))
		return
	}
	p.log.Zap().Info("a changed file was read again", zap.String("setting", setting))
}

// mostFiles is how many files one setting has at most.
const mostFiles = 3

// stamp tells one state of a file from another; that of no file is zero.
type stamp struct {
	inode            uint64
	size             int64
	written, changed syscall.Timespec
}

func stampsOf(paths []string) (all [mostFiles]stamp) {
	for i, path := range paths {
		if path == "" {
			continue
		}
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			all[i] = stamp{st.Ino, st.Size, st.Mtim, st.Ctim}
		}
	}
	return all
}
