package sidecar

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"go.uber.org/zap"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/sbom"
	"github.com/semantic-pod/semantic/telemetry"
)

const (
	driftDelay    = 2 * time.Second // every process reads its whole binary for this: not while the model is loaded
	driftInterval = time.Hour
	driftRetry    = 5 * time.Second // while a process of the pod does not answer
	driftTimeout  = 10 * time.Second
	maxBuild      = 1 << 20 // bytes of a process's answer
	self          = "sidecar"
)

// driftWatch holds what the binaries of the pod say of themselves against the SBOM. A
// process that does not answer is asked again soon, and keeps what it was last found to be.
type driftWatch struct {
	origin  *origin
	sockets map[string]string // of the other processes
	log     *zap.Logger
	duty    *duty

	drift map[string]*telemetry.Gauge
	last  map[string][]string // what was last logged
}

func newDriftWatch(o *origin, sockets map[string]string, log *zap.Logger, m *telemetry.Metrics) *driftWatch {
	d := &driftWatch{
		origin: o, sockets: sockets, log: log, duty: newDuty("sbom", 2*driftInterval, log, m),
		drift: map[string]*telemetry.Gauge{}, last: map[string][]string{},
	}
	for _, process := range d.processes() {
		d.drift[process] = m.Gauge("semantic_sbom_drift", `process="`+process+`"`, "Differences between what the process's binary holds and the SBOM.")
	}
	return d
}

// processes are all that run in the pod.
func (d *driftWatch) processes() []string {
	names := []string{self}
	for name, socket := range d.sockets {
		if socket != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (d *driftWatch) loop(ctx context.Context) {
	if !d.duty.rest(ctx, driftDelay) {
		return
	}
	for {
		silent, err := d.look(ctx)
		if ctx.Err() != nil {
			return
		}
		d.duty.done(err)
		wait := driftInterval
		if silent > 0 {
			wait = driftRetry
		}
		if !d.duty.rest(ctx, wait) {
			return
		}
	}
}

// look asks every process once, and says how many did not answer: that is no failure
// of ours, and other alerts tell of it.
func (d *driftWatch) look(ctx context.Context) (silent int, err error) {
	for _, process := range d.processes() {
		build, err := d.build(ctx, process)
		if err != nil && process == self {
			return silent, err
		}
		if err != nil {
			d.log.Debug("a process did not tell its build", zap.String("binary_of", process), zap.Error(err))
			silent++
			continue
		}
		found := Differences(d.origin.bom, build)
		d.drift[process].Set(float64(len(found)))
		if len(found) > 0 && !slices.Equal(found, d.last[process]) {
			d.log.Warn("a binary is not what the SBOM says", zap.String("binary_of", process),
				zap.String("sbom", d.origin.bom.SerialNumber), zap.Strings("differences", found))
		}
		d.last[process] = found
	}
	return silent, nil
}

// Differences lists how what a process says of its binary is not what the SBOM says.
func Differences(bom *cdx.BOM, b telemetry.Build) []string {
	modules := make([]sbom.Linked, len(b.Modules))
	for i, m := range b.Modules {
		modules[i] = sbom.Linked(m)
	}
	out := sbom.Compare(bom, b.Go, modules)
	if want := bom.Metadata.Component.Version; b.Version != want {
		out = append(out, fmt.Sprintf("its version is %s, the SBOM's is %s", b.Version, want))
	}
	if want := sbom.Property(bom.Metadata.Component, "semantic:commit"); b.Commit != want {
		out = append(out, fmt.Sprintf("its commit is %s, the SBOM's is %s", b.Commit, want))
	}
	if want := sbom.FileHash(bom); want != "" && b.ExecutableSHA256 != want {
		out = append(out, fmt.Sprintf("its executable's SHA-256 is %s, the release's is %s", b.ExecutableSHA256, want))
	}
	return out
}

// build is what a process says of its binary.
func (d *driftWatch) build(ctx context.Context, process string) (b telemetry.Build, err error) {
	if process == self {
		b = telemetry.ReadBuild()
		b.ExecutableSHA256, err = telemetry.ExecutableSHA256()
		return b, err
	}
	ctx, cancel := context.WithTimeout(ctx, driftTimeout)
	defer cancel()
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", d.sockets[process])
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://pod"+api.PathBuild, nil)
	if err != nil {
		return b, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return b, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return b, fmt.Errorf("it answered %s", strings.TrimSpace(resp.Status))
	}
	return b, json.NewDecoder(http.MaxBytesReader(nil, resp.Body, maxBuild)).Decode(&b)
}
