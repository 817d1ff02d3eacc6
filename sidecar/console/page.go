package console

import (
	"bytes"
	"compress/gzip"
	"embed"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
)

// dist is what make console bundles of the folder web.
//
//go:embed dist
var dist embed.FS

// asset is a file of the page, compressed once.
type asset struct {
	contentType string
	plain, gz   []byte
}

// loadAssets reads the page's files by name.
func loadAssets() map[string]*asset {
	all := map[string]*asset{}
	for _, dir := range []string{"dist", "dist/console/assets"} {
		entries, err := dist.ReadDir(dir)
		if err != nil {
			continue // a page without assets of its own
		}
		for _, e := range entries {
			if body, err := dist.ReadFile(dir + "/" + e.Name()); err == nil {
				all[e.Name()] = newAsset(e.Name(), body)
			}
		}
	}
	return all
}

func newAsset(name string, body []byte) *asset {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		panic(err) // the level is a constant
	}
	_, _ = z.Write(body) // a buffer takes all
	_ = z.Close()
	return &asset{contentType: mime.TypeByExtension(path.Ext(name)), plain: body, gz: b.Bytes()}
}

// page serves a file, or the one that the path names. The page itself says nothing of the pod,
// so that it needs no session: what it shows does.
func (c *Console) page(name string) http.Handler {
	return c.checked(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := c.assets[name]
		h := w.Header()
		if name == "" {
			a = c.assets[r.PathValue("name")]
			h.Set("Cache-Control", "public, max-age=31536000, immutable") // names have a hash
		}
		if a == nil {
			refuse(w, http.StatusNotFound, "no such file; after an update load the page again")
			return
		}
		body := a.plain
		h.Set("Content-Type", a.contentType)
		h.Set("Vary", "Accept-Encoding")
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			h.Set("Content-Encoding", "gzip")
			body = a.gz
		}
		h.Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body) // a client that left needs no answer
	}))
}
