package sidecar

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"github.com/semantic-pod/semantic/sbom"
	"github.com/semantic-pod/semantic/sbom/release"
	"github.com/semantic-pod/semantic/telemetry"
)

// document is one thing that is served as it is, all of it known at the start.
type document struct {
	contentType string
	body        []byte
	etag        string
	digest      string // RFC 9530
}

func newDocument(contentType string, body []byte) *document {
	sum := sha256.Sum256(body)
	return &document{
		contentType: contentType, body: body,
		etag:   `"` + hex.EncodeToString(sum[:]) + `"`,
		digest: "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":",
	}
}

func (d *document) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("ETag", d.etag)
	h.Set("Cache-Control", "no-cache") // ask again, by the ETag
	h.Set("Vary", "Accept-Encoding")
	if r.Header.Get("If-None-Match") == d.etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", d.contentType)
	h.Set("Content-Digest", d.digest)
	h.Set("Repr-Digest", d.digest)
	h.Set("Content-Length", strconv.Itoa(len(d.body)))
	_, _ = w.Write(d.body) // a client that left needs no answer
}

// origin is what the sidecar knows of where the pod's binary comes from.
type origin struct {
	bom        *cdx.BOM // the release's if it lies beside the binary, else the one within it
	release    string   // its file; "" without one
	routes     map[string]*document
	provenance *document // nil without a release
}

const maxProvenance = 64 << 20

// newOrigin reads the list within the binary and, if there is one, the release's in dir.
func newOrigin(dir string) (*origin, error) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return nil, errors.New("cannot tell what the binary is made of: it holds no record of its build")
	}
	build, err := sbom.BuildOf(info, telemetry.ReadBuild().Version)
	if err != nil {
		return nil, err
	}
	o := new(origin)
	if o.bom, err = sbom.Describe(build); err != nil {
		return nil, err
	}
	if err := o.readRelease(dir); err != nil {
		return nil, err
	}
	licences, err := json.MarshalIndent(sbom.Licences(o.bom), "", "  ")
	if err != nil {
		return nil, err
	}
	o.routes = map[string]*document{
		"/licenses": newDocument("application/json", append(licences, '\n')),
		"/notice":   newDocument("text/plain; charset=utf-8", sbom.Notice),
	}
	for path, form := range map[string]sbom.Form{"/sbom": sbom.JSON, "/sbom.spdx.json": sbom.SPDX} {
		body, err := sbom.Encode(o.bom, form)
		if err != nil {
			return nil, err
		}
		o.routes[path] = newDocument(map[sbom.Form]string{
			sbom.JSON: "application/vnd.cyclonedx+json; version=1.6", sbom.SPDX: "application/spdx+json",
		}[form], body)
	}
	o.routes["/.well-known/sbom"] = o.routes["/sbom"]
	return o, nil
}

// readRelease takes the SBOM and the provenance that a release's folder holds beside
// the binary. None there is no error: a binary may be built without one.
func (o *origin) readRelease(dir string) error {
	path := filepath.Join(dir, release.SBOMName("semantic_"+runtime.GOOS+"_"+runtime.GOARCH))
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("cannot read the release in --release-dir=%s: %w", dir, err)
	default:
		defer f.Close()
		if o.bom, err = sbom.Decode(f); err != nil {
			return fmt.Errorf("cannot read %s in --release-dir: %w", path, err)
		}
		o.release = path
	}
	path = filepath.Join(dir, release.ProvenanceFile)
	stat, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && stat.Size() > maxProvenance {
		err = fmt.Errorf("it is larger than %d MiB", maxProvenance>>20)
	}
	if err != nil {
		return fmt.Errorf("cannot read %s in --release-dir: %w", path, err)
	}
	body, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("cannot read %s in --release-dir: %w", path, err)
	}
	o.provenance = newDocument("application/vnd.in-toto+dsse", body)
	return nil
}

// serve adds the routes.
func (o *origin) serve(mux *http.ServeMux) {
	for path, d := range o.routes {
		mux.Handle("GET "+path, d)
	}
	mux.HandleFunc("GET /provenance", func(w http.ResponseWriter, r *http.Request) {
		if o.provenance == nil {
			answer(w, http.StatusNotFound, map[string]string{
				"error": "no " + release.ProvenanceFile + " lies in --release-dir: this binary comes with no signed release",
			})
			return
		}
		o.provenance.ServeHTTP(w, r)
	})
}
