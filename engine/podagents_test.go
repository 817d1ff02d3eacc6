package engine

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/semantic-pod/semantic/api"
	"github.com/semantic-pod/semantic/engine/model"
)

// podAgents returns what the pod's own console is told, by tenant and id.
func (e *testEngine) podAgents() (api.AgentList, map[string]api.Agent) {
	e.t.Helper()
	r := e.call(http.MethodGet, api.PathAgents, "")
	var list api.AgentList
	if err := json.Unmarshal([]byte(r.body), &list); err != nil || r.status != 200 {
		e.t.Fatalf("%d %s: %v", r.status, r.body, err)
	}
	byName := map[string]api.Agent{}
	for _, a := range list.Agents {
		byName[a.Tenant+"/"+a.ID] = a
	}
	return list, byName
}

func TestThePodSeesAndMovesAgentsOfAllTenants(t *testing.T) {
	cfg := agentConfig(t)
	e := startEngine(t, cfg)
	bodies := turns(3, `,"temperature":0.8,"seed":3`)
	lone := startEngine(t, freshSocket(t, testWithout(cfg)))
	want := make([]string, len(bodies))
	for i, body := range bodies {
		lone.flush()
		want[i] = lone.post(chatPath, body).text(t)
	}
	const name = "acme/a <b>/ü"
	path := api.PathAgents + "/acme/a%20%3Cb%3E%2F%C3%BC"
	for i, body := range bodies[:2] {
		if got := e.post(chatPath, body, as("acme", "a <b>/ü")...).text(t); got != want[i] {
			t.Fatalf("turn %d: %q, alone %q", i, got, want[i])
		}
	}
	e.post(chatPath, bodies[0], as("other", "x")...)

	list, by := e.podAgents()
	a := by[name]
	if list.Total != 2 || a.Tier != "hot" || a.Hits != 1 || len(a.Blocks)*list.BlockTokens != a.Tokens || a.Tokens == 0 || by["other/x"].Tier != "hot" {
		t.Fatalf("%+v", list)
	}
	if r := e.call(http.MethodPost, path+"/evict", ""); r.status != 200 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	if _, by := e.podAgents(); by[name].Tier != "warm" || by[name].Tokens != a.Tokens {
		t.Fatalf("after its eviction: %+v", by)
	}
	e.flush() // what is cached must not stand in for what the disk has
	if r := e.call(http.MethodPost, path+"/restore", ""); r.status != 200 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	if _, by := e.podAgents(); by[name].Tier != "hot" || len(by[name].Blocks) == 0 {
		t.Fatalf("after it was restored: %+v", by)
	}
	if r := e.post(chatPath, bodies[1], as("acme", "a <b>/ü")...); r.text(t) != want[1] || r.number(t, api.HeaderCachedTokens) == 0 {
		t.Errorf("the turn after: %q with %g cached, alone %q", r.text(t), r.number(t, api.HeaderCachedTokens), want[1])
	}
	if r := e.call(http.MethodDelete, path, ""); r.status != 200 {
		t.Errorf("%d %s", r.status, r.body)
	}
	if list, by := e.podAgents(); len(by[name].ID) != 0 || list.Used != 0 {
		t.Errorf("after its deletion: %+v", list)
	}
}

func TestOrdersToAgentsThatCannotBe(t *testing.T) {
	e := startEngine(t, agentConfig(t))
	for _, c := range []struct {
		method, path string
		status       int
	}{
		{http.MethodPost, "/acme/none/evict", 404},
		{http.MethodPost, "/acme/none/restore", 404},
		{http.MethodDelete, "/acme/none", 404},
		{http.MethodGet, "/acme/none", 405},
		{http.MethodPost, "/acme/none/polish", 404},
		{http.MethodPost, "/acme", 404},
		{http.MethodPost, "//a/evict", 404},
		{http.MethodPost, "/acme/%00/evict", 404},
	} {
		if r := e.call(c.method, api.PathAgents+c.path, ""); r.status != c.status {
			t.Errorf("%s %s: %d %s, want %d", c.method, c.path, r.status, r.body, c.status)
		}
	}
}

func TestAnAgentForWhichThereIsNoRoomStaysOnDisk(t *testing.T) {
	cfg := agentConfig(t)
	e := startEngine(t, cfg)
	e.post(chatPath, turns(1, "")[0], as("acme", "a")...)
	if r := e.call(http.MethodPost, api.PathAgents+"/acme/a/evict", ""); r.status != 200 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	s := e.current().(*native).scheduler
	taken, err := inquire(t.Context(), s, func() func() {
		c := s.blocks.NewChain()
		c.Grow(s.blocks.Free() * model.BlockTokens)
		return c.Release
	})
	if err != nil {
		t.Fatal(err)
	}
	if r := e.call(http.MethodPost, api.PathAgents+"/acme/a/restore", ""); r.status != 409 || !strings.Contains(r.body, "pool_full") {
		t.Errorf("%d %s", r.status, r.body)
	}
	if _, err := inquire(t.Context(), s, func() bool { taken(); return true }); err != nil {
		t.Fatal(err)
	}
	if r := e.call(http.MethodPost, api.PathAgents+"/acme/a/restore", ""); r.status != 200 {
		t.Errorf("with room: %d %s", r.status, r.body)
	}
}
