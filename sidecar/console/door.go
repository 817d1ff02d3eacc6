package console

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	cookieName = "semantic_console"
	maxLogin   = 4 << 10
)

// checked lets through what was sent to us by our own page. A name that was made to point here
// (DNS rebinding) comes with a Host that is not ours, another site's page with its own Origin.
func (c *Console) checked(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		guard(w.Header())
		if !c.ourHost(r.Host) {
			refuse(w, http.StatusMisdirectedRequest, "this Host is not the console's: use an IP address, localhost or the host of --external-url")
			return
		}
		if site := r.Header.Get("Sec-Fetch-Site"); r.Method != http.MethodGet && site != "" && site != "same-origin" || !sameOrigin(r) {
			refuse(w, http.StatusForbidden, "the console answers its own page alone")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// guard sets what a browser must hold to.
func guard(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
	h.Set("Cache-Control", "no-store")
}

// ourHost takes addresses, which no name server can forge, localhost, and what was configured.
func (c *Console) ourHost(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if net.ParseIP(host) != nil || strings.EqualFold(host, "localhost") {
		return true
	}
	for _, own := range []string{c.cfg.External, "//" + c.cfg.Listen()} {
		if u, err := url.Parse(own); err == nil && u.Hostname() != "" && strings.EqualFold(host, u.Hostname()) {
			return true
		}
	}
	return false
}

// sameOrigin takes what has no Origin, as a browser's own navigation, or that of its Host.
func sameOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return r.Method == http.MethodGet
	}
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, r.Host)
}

// members lets through who has a session.
func (c *Console) members(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !c.sessions.known(presented(r), time.Now()) {
			refuse(w, http.StatusUnauthorized, "enter with an admin key, or with the link that semantic serve prints")
			return
		}
		next(w, r)
	})
}

func presented(r *http.Request) string {
	cookie, err := r.Cookie(cookieName)
	if err != nil {
		return ""
	}
	return cookie.Value
}

// admit begins a session in the browser.
func (c *Console) admit(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: c.sessions.begin(time.Now()), Path: "/console", HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: r.TLS != nil, MaxAge: int(sessionTime / time.Second),
	})
}

// enter takes the ticket of the link that serve printed, and leads on to the page.
func (c *Console) enter(w http.ResponseWriter, r *http.Request) {
	if !c.sessions.redeem(r.URL.Query().Get("ticket")) {
		refuse(w, http.StatusForbidden, "this link was used already, or is not the last one that semantic serve printed; enter with an admin key at /")
		return
	}
	c.cfg.Log.Info("a console was opened with the printed link")
	c.admit(w, r)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// login takes an admin key: {"key": "..."}.
func (c *Console) login(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	if !c.sessions.mayTry(now) {
		w.Header().Set("Retry-After", "60")
		refuse(w, http.StatusTooManyRequests, "too many wrong keys; try again in a minute")
		return
	}
	var body struct{ Key string }
	if err := json.NewDecoder(io.LimitReader(r.Body, maxLogin)).Decode(&body); err != nil || body.Key == "" {
		refuse(w, http.StatusBadRequest, `the body must be {"key": "an admin key"}`)
		return
	}
	switch err := c.pods.isAdmin(r.Context(), body.Key); {
	case errors.Is(err, errNoAdmin):
		c.sessions.failure(now)
		c.cfg.Log.Warn("a console was refused: its key is no admin's")
		refuse(w, http.StatusUnauthorized, err.Error())
	case err != nil:
		refuse(w, http.StatusBadGateway, "the proxy, which knows the keys, does not answer: "+err.Error())
	default:
		c.cfg.Log.Info("a console was opened with an admin key")
		c.admit(w, r)
		answer(w, map[string]bool{"ok": true})
	}
}

// session says whether the page is let in, so that it need not run into a refusal to find out.
func (c *Console) session(w http.ResponseWriter, r *http.Request) {
	answer(w, map[string]bool{"inside": c.sessions.known(presented(r), time.Now())})
}

func (c *Console) logout(w http.ResponseWriter, r *http.Request) {
	c.sessions.end(presented(r))
	http.SetCookie(w, &http.Cookie{Name: cookieName, Path: "/console", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteStrictMode})
	answer(w, map[string]bool{"ok": true})
}

func refuse(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": message})
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // fails only with the connection
}
