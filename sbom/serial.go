package sbom

import (
	"fmt"
	"slices"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/uuid"
)

// Serial is a UUIDv5 of the modules, the commit and the platform: who builds the same
// gets the same. The list in the binary is version 1 of it; the release's, which adds
// hashes of files that the binary cannot hold of itself, is version 2.
func Serial(bom *cdx.BOM, b Build) string {
	lines := []string{fmt.Sprintf("%s@%s %s modified=%t %s/%s", Module, b.Version, b.Commit, b.Modified, b.OS, b.Arch)}
	for _, c := range *bom.Components {
		if c.Type == cdx.ComponentTypeLibrary {
			lines = append(lines, c.Name+"@"+c.Version+" "+Property(&c, PropertyH1))
		}
	}
	slices.Sort(lines[1:])
	id := uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://"+Module+"\n"+strings.Join(lines, "\n")))
	return "urn:uuid:" + id.String()
}
