package console

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/logchain"
)

const (
	viewTimeout   = 5 * time.Second
	verifyTimeout = 2 * time.Minute
	maxFiles      = 500
)

// relayJSON answers with what a process of the pod says.
func relayJSON(w http.ResponseWriter, r *http.Request, client *http.Client, path, who string) {
	ctx, cancel := context.WithTimeout(r.Context(), viewTimeout)
	defer cancel()
	var body json.RawMessage
	if err := read(ctx, client, path, &body); err != nil {
		refuse(w, http.StatusBadGateway, "the "+who+" does not tell: "+err.Error())
		return
	}
	answer(w, body)
}

func (c *Console) agents(w http.ResponseWriter, r *http.Request) {
	relayJSON(w, r, c.pods.engine, api.PathAgents, "engine")
}

func (c *Console) limits(w http.ResponseWriter, r *http.Request) {
	relayJSON(w, r, c.pods.proxy, api.PathKeys, "proxy")
}

func (c *Console) alerts(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), viewTimeout)
	defer cancel()
	v, err := c.cfg.Alerts(ctx)
	if err != nil {
		refuse(w, http.StatusBadGateway, err.Error())
		return
	}
	answer(w, v)
}

func (c *Console) drift(w http.ResponseWriter, _ *http.Request) { answer(w, c.cfg.Drift()) }

// logFile is a file of the log folder.
type logFile struct {
	Name     string    `json:"name"`
	Bytes    int64     `json:"bytes"`
	Modified time.Time `json:"modified"`
	State    string    `json:"state"` // active, rotated or archived
}

// logs lists the files, and says what the manifest and the sidecar's duties are like.
func (c *Console) logs(w http.ResponseWriter, _ *http.Request) {
	entries, err := os.ReadDir(c.cfg.LogDir)
	if err != nil {
		refuse(w, http.StatusInternalServerError, "the logs cannot be listed: "+err.Error())
		return
	}
	files := []logFile{}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue // it went meanwhile
		}
		f := logFile{Name: e.Name(), Bytes: info.Size(), Modified: info.ModTime(), State: "active"}
		n, rotated := logchain.ParseName(e.Name())
		switch {
		case rotated && n.Suffix == logchain.ArchiveSuffix:
			f.State = "archived"
		case rotated:
			f.State = "rotated"
		case !strings.HasSuffix(e.Name(), logchain.ActiveSuffix):
			continue
		}
		files = append(files, f)
	}
	slices.SortFunc(files, func(a, b logFile) int { return b.Modified.Compare(a.Modified) })
	total := len(files)
	answer(w, map[string]any{"dir": c.cfg.LogDir, "files": files[:min(total, maxFiles)], "total": total, "manifest": c.cfg.Manifest(), "health": c.cfg.Health()})
}

// verifyLogs proves the manifest, one at a time.
func (c *Console) verifyLogs(w http.ResponseWriter, r *http.Request) {
	select {
	case c.verify <- struct{}{}:
		defer func() { <-c.verify }()
	default:
		refuse(w, http.StatusConflict, "the logs are being verified already")
		return
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(verifyTimeout + sendTime))
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	ctx, cancel := context.WithTimeout(r.Context(), verifyTimeout)
	defer cancel()
	report, err := c.cfg.Verify(ctx)
	if err != nil {
		refuse(w, http.StatusInternalServerError, "the logs cannot be verified here; run semantic logs verify: "+err.Error())
		return
	}
	answer(w, report)
}
