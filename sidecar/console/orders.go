package console

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"

	"go.uber.org/zap"

	"github.com/semantic-pod/semantic/api"
)

// order has the engine evict, restore or delete an agent.
func (c *Console) order(w http.ResponseWriter, r *http.Request) {
	tenant, id, action := r.PathValue("tenant"), r.PathValue("id"), r.PathValue("action")
	path := api.PathAgents + "/" + url.PathEscape(tenant) + "/" + url.PathEscape(id)
	method := http.MethodPost
	switch action {
	case "evict", "restore":
		path += "/" + action
	case "delete":
		method = http.MethodDelete
	default:
		refuse(w, http.StatusNotFound, "an agent can be told to evict, restore or delete")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), orderTime)
	defer cancel()
	var b bytes.Buffer
	err := ask(ctx, c.pods.engine, method, path, nil, &b)
	c.cfg.Log.Info("an agent was given an order from the console", zap.String("order", action), zap.String("tenant", tenant), zap.String("agent", id), zap.Error(err))
	a, refused := errors.AsType[*answered](err)
	switch {
	case refused:
		var said struct{ Error struct{ Message string } }
		_ = json.Unmarshal(a.body, &said) // what has no message is told by its status
		refuse(w, a.status, said.Error.Message)
	case err != nil:
		refuse(w, http.StatusBadGateway, "the engine does not answer: "+err.Error())
	default:
		answer(w, json.RawMessage(b.Bytes()))
	}
}
