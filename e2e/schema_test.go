package e2e

import (
	"fmt"
	"path/filepath"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// logSchema is the schema of docs/, which every line of every pod must fit.
var logSchema = sync.OnceValues(func() (*jsonschema.Schema, error) {
	return jsonschema.NewCompiler().Compile(filepath.Join(root, "docs", "log.schema.json"))
})

// checkSchema holds every whole line that the pod's processes wrote against the schema.
func (p *pod) checkSchema() error {
	schema, err := logSchema()
	if err != nil {
		return err
	}
	for _, process := range []string{"serve", "proxy", "engine", "sidecar"} {
		lines, _ := readLogs(p.logDir(), process) // tests that kill or fill look at torn lines themselves
		for _, l := range lines {
			if err := schema.Validate(map[string]any(l)); err != nil {
				return fmt.Errorf("%s.log: a line does not fit docs/log.schema.json: %v\n%w", process, l, err)
			}
		}
	}
	return nil
}
