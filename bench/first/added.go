package main

import (
	"net/http"
	"time"

	"github.com/semantic-pod/semantic/bench/measure"
)

// added compares a request through the proxy with the same one on the engine's
// socket, sent by the same client in turns. All in microseconds.
type added struct {
	What   string  `json:"what"`
	Pairs  int     `json:"pairs"`
	Engine times   `json:"engine_us"`
	Proxy  times   `json:"proxy_us"`
	P50    float64 `json:"added_p50_us"`
	P99    float64 `json:"added_p99_us"`
}

type times struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
}

func measureAdded(p plan, q *pod) ([]added, error) {
	oneToken := `{"model":"default","prompt":"Hi","temperature":0,"max_tokens":1}`
	var all []added
	for _, c := range []struct {
		what, method, path, body string
		pairs                    int
	}{
		{"GET /v1/models", http.MethodGet, "/v1/models", "", p.modelCalls},
		{"one-token completion", http.MethodPost, "/v1/completions", oneToken, p.completions},
	} {
		var engine, proxy []float64
		for i := range c.pairs + c.pairs/10 {
			e, err := timed(q.engine, c.method, "http://engine"+c.path, c.body)
			if err != nil {
				return nil, err
			}
			x, err := timed(q.proxy, c.method, q.url+c.path, c.body)
			if err != nil {
				return nil, err
			}
			if i >= c.pairs/10 { // the first tenth warms up
				engine, proxy = append(engine, e), append(proxy, x)
			}
		}
		a := added{What: c.what, Pairs: c.pairs, Engine: timesOf(engine), Proxy: timesOf(proxy)}
		a.P50, a.P99 = measure.Round(a.Proxy.P50-a.Engine.P50), measure.Round(a.Proxy.P99-a.Engine.P99)
		all = append(all, a)
	}
	return all, nil
}

func timed(c *http.Client, method, url, body string) (float64, error) {
	began := time.Now()
	err := ask(c, method, url, body)
	return float64(time.Since(began)) / float64(time.Microsecond), err
}

func timesOf(samples []float64) times {
	return times{measure.Percentile(samples, 50), measure.Percentile(samples, 99)}
}
