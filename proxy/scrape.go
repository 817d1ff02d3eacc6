package proxy

import (
	"bytes"
	"time"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/telemetry"
	"github.com/valyala/fasthttp"
	"go.uber.org/zap"
)

const (
	scrapeDeadline = 2 * time.Second
	maxExposition  = 16 << 20
)

// answerMetrics answers with the proxy's families and the engine's. Without the
// engine the proxy's own still come.
func (p *Proxy) answerMetrics(x *exchange) {
	var own bytes.Buffer
	_, _ = p.metrics.WriteTo(&own) // a buffer takes all
	r := &x.ctx.Response
	r.Header.SetContentType(telemetry.ContentType)
	engine, err := p.engineMetrics()
	if err == nil {
		var merged bytes.Buffer
		err = telemetry.Merge(&merged, own.Bytes(), engine)
		own = merged
	}
	if err != nil {
		p.meters.scrapeFaults.Inc()
		p.log.Zap().Debug("scrape lacks something of the engine", zap.Error(err))
	}
	if accepts(x.ctx.Request.Header.Peek(fasthttp.HeaderAccept), "application/openmetrics-text") {
		r.Header.SetContentType(telemetry.OpenMetricsType)
		r.SetBodyRaw(p.metrics.OpenMetrics(own.Bytes()))
		return
	}
	r.SetBodyRaw(own.Bytes())
}

// accepts says whether an Accept header asks for the media type, and does not rule it
// out.
func accepts(header []byte, media string) bool {
	for one := range bytes.SplitSeq(header, []byte(",")) {
		kind, parameters, _ := bytes.Cut(one, []byte(";"))
		if is(bytes.TrimSpace(kind), media) {
			return !bytes.Contains(bytes.ReplaceAll(parameters, []byte(" "), nil), []byte("q=0;")) && !bytes.HasSuffix(bytes.TrimSpace(parameters), []byte("q=0"))
		}
	}
	return false
}

// engineMetrics fetches the engine's families over a connection of its own. An
// engine that is known to be away costs a scrape no wait.
func (p *Proxy) engineMetrics() ([]byte, error) {
	if !p.health.engineUp() {
		return nil, errEngineAway
	}
	up, err := p.pool.dial()
	if err != nil {
		return nil, err
	}
	defer up.hangUp()
	return up.get(api.PathMetrics, time.Now().Add(scrapeDeadline), maxExposition)
}
