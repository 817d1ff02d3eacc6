package sbom

import (
	"crypto/sha256"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// Linked is one module as a binary's build info names it.
type Linked struct {
	Path    string `json:"path"`
	Version string `json:"version"`
	Sum     string `json:"sum,omitempty"` // h1 of go.sum
}

// LinkedModules lists what the build info says to be linked, replacements resolved.
func LinkedModules(info *debug.BuildInfo) []Linked {
	out := make([]Linked, 0, len(info.Deps))
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		out = append(out, Linked{Path: m.Path, Version: m.Version, Sum: m.Sum})
	}
	return out
}

// Compare lists how the modules that a binary says to hold differ from the list; none:
// they are equal as sets.
func Compare(bom *cdx.BOM, goVersion string, modules []Linked) []string {
	listed := map[string]*cdx.Component{}
	for i := range *bom.Components {
		if c := &(*bom.Components)[i]; IsModule(c) {
			listed[c.Name] = c
		}
	}
	var out []string
	differ := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for _, m := range append(slices.Clone(modules), Linked{Path: stdName, Version: strings.TrimPrefix(goVersion, "go")}) {
		c := listed[m.Path]
		delete(listed, m.Path)
		switch {
		case c == nil:
			differ("%s@%s is linked and not in the SBOM", m.Path, m.Version)
		case c.Version != m.Version:
			differ("%s is linked at %s, the SBOM says %s", m.Path, m.Version, c.Version)
		case m.Sum != "" && m.Sum != Property(c, PropertyH1):
			differ("%s@%s is linked with the checksum %s, the SBOM says %s", m.Path, m.Version, m.Sum, Property(c, PropertyH1))
		}
	}
	for name, c := range listed {
		differ("%s@%s is in the SBOM and not linked", name, c.Version)
	}
	slices.Sort(out)
	return out
}

// IsModule tells a Go module, or the standard library, from all else: the linker records those alone.
func IsModule(c *cdx.Component) bool {
	return c.Type == cdx.ComponentTypeLibrary && strings.HasPrefix(c.PackageURL, "pkg:golang/")
}

// CompareBuiltin says how the model that a binary embeds differs from the list's; "": not at all.
func CompareBuiltin(bom *cdx.BOM, model []byte) string {
	for i := range *bom.Components {
		c := &(*bom.Components)[i]
		if c.Type != cdx.ComponentTypeMachineLearningModel || c.Name != BuiltinName {
			continue
		}
		if have := fmt.Sprintf("%x", sha256.Sum256(model)); have != SHA256(c) {
			return fmt.Sprintf("the SHA-256 of its built-in model is %s, the SBOM says %s", have, SHA256(c))
		}
		return ""
	}
	return "its built-in model is not in the SBOM"
}

// FileHash is the SHA-256 of the whole's binary, "" in the list inside the binary.
func FileHash(bom *cdx.BOM) string { return SHA256(bom.Metadata.Component) }

// SHA256 is that of a component, "" where the list has none.
func SHA256(c *cdx.Component) string {
	if c.Hashes == nil {
		return ""
	}
	for _, h := range *c.Hashes {
		if h.Algorithm == cdx.HashAlgoSHA256 {
			return h.Value
		}
	}
	return ""
}
