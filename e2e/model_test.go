package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/semantic-pod/semantic/engine/enginetest"
)

// TestAdminSwapsAndOffloadsTheModel orders through the proxy, as an operator would.
func TestAdminSwapsAndOffloadsTheModel(t *testing.T) {
	t.Parallel()
	const key = "the-key-of-the-operator"
	other := filepath.Join(t.TempDir(), "other.gguf")
	if err := os.WriteFile(other, enginetest.Bytes(enginetest.Shape{}), 0o600); err != nil {
		t.Fatal(err)
	}
	p := newDoomedPod(t, settings{env: []string{"SEMANTIC_ADMIN_KEY=" + key, "SEMANTIC_KV_MEMORY=64MiB"}})
	order := func(path, body string, want int) string {
		t.Helper()
		r := p.call(http.MethodPost, "/admin/"+path, body, "Authorization", "Bearer "+key)
		if r.status != want {
			t.Fatalf("%s: %d %s, want %d", path, r.status, r.body, want)
		}
		return r.body
	}
	rome := p.mustGenerate(t, chat(italy, 12)).text
	if body := order("model/swap", `{"model":"/nowhere.gguf"}`, 422); !strings.Contains(body, "model_rejected") {
		t.Errorf("%s", body)
	}
	if got := p.mustGenerate(t, chat(italy, 12)).text; got != rome {
		t.Errorf("after the failed swap: %q, before %q", got, rome)
	}
	if body := order("model/swap", `{"model":"`+other+`"}`, 200); !strings.Contains(body, `"model":"other"`) {
		t.Errorf("%s", body)
	}
	if got := p.mustGenerate(t, chat(italy, 12)).text; got == rome {
		t.Errorf("after the swap: %q", got)
	}
	order("model/offload", "", 200)
	await(t, "not ready", func() bool {
		r := p.health("ready")
		return r.status == http.StatusServiceUnavailable && strings.Contains(r.body, "model_offloaded")
	})
	if r := p.call(http.MethodPost, chatPath, chat(italy, 1).String()); r.status != http.StatusServiceUnavailable || r.header.Get("Retry-After") == "" {
		t.Errorf("offloaded: %d %s", r.status, r.body)
	}
	order("model/swap", `{"model":"`+model+`"}`, 200)
	await(t, "ready", func() bool { return p.health("ready").status == http.StatusOK })
	if got := p.mustGenerate(t, chat(italy, 12)).text; got != rome {
		t.Errorf("swapped back: %q, before %q", got, rome)
	}
	if body := order("cache/flush", "", 200); !strings.Contains(body, `"agents":`) {
		t.Errorf("%s", body)
	}
	p.mustStop(t)
}
