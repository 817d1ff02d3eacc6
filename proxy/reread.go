package proxy

import (
	"context"
	"os"
	"syscall"
	"time"

	"go.uber.org/zap"
)

// The settings whose files are read again: labels of semantic_file_rejected.
const (
	adminKeySetting    = "--admin-key-file"
	certificateSetting = "--tls-cert-file"
	tokenKeysSetting   = "--jwt-keys"
)

var rereadSettings = []string{adminKeySetting, certificateSetting, tokenKeysSetting}

// rereadEvery is how often files of settings are looked at. Asking the kernel for
// changes would miss those behind a link, by which mounted secrets are replaced.
const rereadEvery = time.Second

// rereadFiles are the files of a setting; the first one is "" where there are none.
func (c *Config) rereadFiles(setting string) []string {
	switch setting {
	case adminKeySetting:
		return []string{c.AdminKeyFile}
	case certificateSetting:
		return []string{c.TLSCertFile, c.TLSKeyFile, c.TLSClientCAFile}
	}
	return []string{c.JWTKeys}
}

// noteFiles notes how the files are before they are read for the first time: a change
// from then on is one.
func (p *Proxy) noteFiles() {
	p.noted = map[string][mostFiles]stamp{}
	for _, setting := range rereadSettings {
		p.noted[setting] = stampsOf(p.cfg.rereadFiles(setting))
	}
}

// watchFiles calls read whenever one of a setting's files has changed, until ctx ends.
// It waits until all have kept still from one look to the next: a certificate and its
// key are written one after the other. What read refuses stays as it was.
func (p *Proxy) watchFiles(ctx context.Context, setting string, read func() error) {
	paths, seen := p.cfg.rereadFiles(setting), p.noted[setting]
	if paths[0] == "" {
		return
	}
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
	err := read()
	p.meters.refusedFiles[setting].Store(err != nil)
	if err != nil {
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
