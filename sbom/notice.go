package sbom

import (
	_ "embed"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// Notice is the NOTICE file: the copyright and the full licence text of everything
// that the binary links or embeds, and of the default model.
//
//go:embed NOTICE
var Notice []byte

// Licence is what one component is licensed under.
type Licence struct {
	Name      string `json:"name"`
	Version   string `json:"version"`
	Licence   string `json:"licence"` // SPDX expression
	Package   string `json:"purl"`    // package URL: tells a Go module from an npm package and a model
	Copyright string `json:"copyright,omitempty"`
}

// Licences lists the licences of the whole and of each component.
func Licences(bom *cdx.BOM) []Licence {
	out := []Licence{licenceOf(bom.Metadata.Component)}
	for i := range *bom.Components {
		out = append(out, licenceOf(&(*bom.Components)[i]))
	}
	return out
}

func licenceOf(c *cdx.Component) Licence {
	return Licence{Name: c.Name, Version: c.Version, Licence: Expression(c), Package: c.PackageURL, Copyright: c.Copyright}
}

// Expression is a component's licence as an SPDX expression, NOASSERTION if none is known.
func Expression(c *cdx.Component) string {
	if c.Licenses == nil {
		return "NOASSERTION"
	}
	var parts []string
	for _, choice := range *c.Licenses {
		switch {
		case choice.Expression != "":
			parts = append(parts, choice.Expression)
		case choice.License != nil && choice.License.ID != "":
			parts = append(parts, choice.License.ID)
		}
	}
	if len(parts) == 0 {
		return "NOASSERTION"
	}
	return strings.Join(parts, " AND ")
}
