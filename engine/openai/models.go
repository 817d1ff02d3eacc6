package openai

import (
	"strconv"

	"github.com/semantic-pod/semantic/engine/dialect"
)

// AppendModels appends the body of GET /v1/models: one entry for each name by
// which the model may be asked for.
func AppendModels(dst []byte, created int64, names ...string) []byte {
	dst = append(dst, `{"object":"list","data":[`...)
	for i, name := range names {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"id":`...)
		dst = dialect.AppendString(dst, name)
		dst = append(dst, `,"object":"model","created":`...)
		dst = strconv.AppendInt(dst, created, 10)
		dst = append(dst, `,"owned_by":"semantic"}`...)
	}
	return append(dst, `]}`...)
}
