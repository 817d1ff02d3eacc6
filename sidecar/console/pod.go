package console

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/semantic-pod/semantic/api"
)

const (
	podTimeout = 900 * time.Millisecond // of a look at a process: less than the interval
	orderTime  = 12 * time.Second
	maxAnswer  = 16 << 20
)

var errNoAdmin = errors.New("this key is no admin's: make one with semantic keys create --admin, or set SEMANTIC_ADMIN_KEY")

// pods are the other processes, asked on their sockets.
type pods struct{ proxy, engine *http.Client }

func newPods(cfg Config) pods { return pods{socketClient(cfg.Proxy), socketClient(cfg.Engine)} }

func socketClient(socket string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, // an engine that stops waits for its connections to close
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
}

func (p pods) close() {
	p.proxy.CloseIdleConnections()
	p.engine.CloseIdleConnections()
}

// answered is an answer that is no success.
type answered struct {
	status int
	body   []byte
}

func (a *answered) Error() string {
	return fmt.Sprintf("it answered %d: %.300s", a.status, bytes.TrimSpace(a.body))
}

// ask sends a request to a process and reads the whole answer into buf.
func ask(ctx context.Context, client *http.Client, method, path string, header http.Header, buf *bytes.Buffer) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://pod"+path, nil)
	if err != nil {
		return err
	}
	for k, v := range header {
		req.Header[k] = v
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	buf.Reset()
	if _, err := buf.ReadFrom(io.LimitReader(resp.Body, maxAnswer)); err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return &answered{resp.StatusCode, bytes.Clone(buf.Bytes())}
	}
	return nil
}

// read asks for JSON.
func read(ctx context.Context, client *http.Client, path string, v any) error {
	var b bytes.Buffer
	if err := ask(ctx, client, http.MethodGet, path, nil, &b); err != nil {
		return err
	}
	return json.Unmarshal(b.Bytes(), v)
}

// isAdmin asks the proxy, which knows the keys.
func (p pods) isAdmin(ctx context.Context, key string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var b bytes.Buffer
	err := ask(ctx, p.proxy, http.MethodPost, api.PathAdmin, http.Header{"Authorization": {"Bearer " + key}}, &b)
	if a, ok := errors.AsType[*answered](err); ok && a.status == http.StatusUnauthorized {
		return errNoAdmin
	}
	return err
}
