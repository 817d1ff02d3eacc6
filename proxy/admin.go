package proxy

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/proxy/keys"
	"github.com/semantic-pod/semantic/proxy/limit"
	"go.uber.org/zap"
)

// readAdminKey takes the key of --admin-key or --admin-key-file.
func (p *Proxy) readAdminKey() error {
	key, from := p.cfg.AdminKey, "--admin-key"
	if p.cfg.AdminKeyFile != "" {
		b, err := os.ReadFile(p.cfg.AdminKeyFile)
		if err != nil {
			return fmt.Errorf("cannot read --admin-key-file: %w", err)
		}
		key, from = strings.TrimSpace(string(b)), "--admin-key-file="+p.cfg.AdminKeyFile
	} else if key == "" {
		return nil
	}
	d, err := keys.ReadOwn(key)
	if err != nil {
		return fmt.Errorf("cannot use %s: %w", from, err)
	}
	p.door.admin.Store(&d)
	return nil
}

// administer answers an admin's orders to the proxy itself. Those to the engine go
// on to it.
func (p *Proxy) administer(x *exchange, next handler) {
	if !x.route.admin || x.route.local == nil {
		next(x)
		return
	}
	x.finish = api.FinishOK
	x.route.local(p, x)
}

// answerReload reads the key file at once.
func (p *Proxy) answerReload(x *exchange) {
	if err := p.door.keys.Reload(); err != nil {
		x.fail(&api.Error{Status: http.StatusUnprocessableEntity, Code: "key_file_rejected",
			Message: fmt.Sprintf("the keys that were read before stay in force: %v", err)})
		return
	}
	x.probe(answer{http.StatusOK, fmt.Appendf(nil, `{"keys":%d}`, p.door.keys.Loaded())})
}

// answerDrain takes the pod out of its load balancer with POST, so that somebody can
// look at it in peace, and back in with DELETE. What comes all the same is served.
func (p *Proxy) answerDrain(x *exchange) {
	switch {
	case x.ctx.IsPost():
		p.health.stepAside(true)
		p.log.Announce("an admin takes the pod out of the load balancer", zap.ByteString("request_id", x.id))
	case x.ctx.IsDelete():
		p.health.stepAside(false)
		p.log.Announce("an admin puts the pod back into the load balancer", zap.ByteString("request_id", x.id))
	}
	v := p.health.current()
	others := p.meters.inFlight.Load() - 1
	x.probe(answer{http.StatusOK, fmt.Appendf(nil, `{"draining":%v,"in_flight":%d}`, v.reason == reasonShuttingDown, others)})
}

// knownKey is a key as the pod's console shows it.
type knownKey struct {
	Name   string       `json:"name"`
	Tenant string       `json:"tenant"`
	Admin  bool         `json:"admin,omitempty"`
	Used   float64      `json:"used"` // of the limit that is nearest to its end, 0 to 1
	Limits limit.Limits `json:"limits"`
}

// serveKeys lists who may come in, without anything that a key could be found by.
func (p *Proxy) serveKeys(w http.ResponseWriter, _ *http.Request) {
	now, all := time.Now(), []knownKey{}
	for _, id := range p.door.keys.Identities() {
		all = append(all, knownKey{id.Key, id.Tenant, id.Admin, id.Limit.Used(now), id.Limits})
	}
	p.writeJSON(w, map[string]any{"keys": all, "required": p.door.keys.Required()})
}

// serveIsAdmin says whether the bearer of a key may do what admins may: 204, or 401.
func (p *Proxy) serveIsAdmin(w http.ResponseWriter, r *http.Request) {
	key, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !bearer {
		key = ""
	}
	if _, why := p.identifyAdmin([]byte(key)); why != keys.Known {
		p.meters.authFailures[why].Inc()
		http.Error(w, why.Message()+"; "+keys.NoAdmin.Message(), http.StatusUnauthorized)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
