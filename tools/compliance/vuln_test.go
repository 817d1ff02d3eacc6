package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/semantic-pod/semantic/tools/compliance/vex"
)

// TestMissingDatabaseFailsOnlyWhereRequired: without a database no document is left, not
// even one of before.
func TestMissingDatabaseFailsOnlyWhereRequired(t *testing.T) {
	folder := t.TempDir()
	for _, required := range []bool{false, true} {
		c := vulnCmd{Out: filepath.Join(folder, "vex.cdx.json"), Required: required}
		if err := os.WriteFile(c.Out, []byte("of before"), 0o644); err != nil {
			t.Fatal(err)
		}
		err := c.assess(vex.Question{Database: filepath.Join(folder, "none")})
		if (err != nil) != required {
			t.Errorf("required=%t: %v", required, err)
		}
		if required && (!errors.Is(err, vex.ErrNoDatabase) || !strings.Contains(err.Error(), "GOVULNDB")) {
			t.Errorf("the error does not say what to set: %v", err)
		}
		if _, err := os.Stat(c.Out); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the document of before is still there: %v", err)
		}
	}
}
