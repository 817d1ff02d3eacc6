package sbom

import (
	"fmt"
	"slices"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/package-url/packageurl-go"
)

// Affected lists the components that a package URL names. One without a version names
// every version.
func Affected(bom *cdx.BOM, purl string) ([]cdx.Component, error) {
	want, err := packageurl.FromString(purl)
	if err != nil {
		return nil, fmt.Errorf("%q is no package URL, such as pkg:golang/golang.org/x/text@v0.3.7: %w", purl, err)
	}
	if !slices.Contains([]string{packageurl.TypeGolang, packageurl.TypeNPM, packageurl.TypeGeneric}, want.Type) {
		return nil, fmt.Errorf("%q names a package of type %s: the SBOM holds Go modules (pkg:golang), npm packages (pkg:npm) and models (pkg:generic)", purl, want.Type)
	}
	var out []cdx.Component
	for _, c := range append([]cdx.Component{*bom.Metadata.Component}, *bom.Components...) {
		have, err := packageurl.FromString(c.PackageURL)
		if err != nil {
			return nil, fmt.Errorf("the SBOM's own %q cannot be read: %w", c.PackageURL, err)
		}
		if have.Type == want.Type && strings.EqualFold(fullName(have), fullName(want)) &&
			(want.Version == "" || bareVersion(have.Version) == bareVersion(want.Version)) {
			out = append(out, c)
		}
	}
	return out, nil
}

func fullName(p packageurl.PackageURL) string { return strings.Trim(p.Namespace+"/"+p.Name, "/") }

// bareVersion lets v1.2.3, 1.2.3 and go1.2.3 be the same: sources of advisories differ.
func bareVersion(v string) string {
	return strings.TrimPrefix(strings.TrimPrefix(v, "go"), "v")
}
