package sbom

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// What SPDX 2.3 has of it, in its own words.
type spdxDocument struct {
	Version       string             `json:"spdxVersion"`
	DataLicence   string             `json:"dataLicense"`
	ID            string             `json:"SPDXID"`
	Name          string             `json:"name"`
	Namespace     string             `json:"documentNamespace"`
	Creation      spdxCreation       `json:"creationInfo"`
	Describes     []string           `json:"documentDescribes"`
	Packages      []spdxPackage      `json:"packages"`
	Relationships []spdxRelationship `json:"relationships"`
}

type spdxCreation struct {
	Created  string   `json:"created,omitempty"`
	Creators []string `json:"creators"`
	Comment  string   `json:"comment,omitempty"`
}

type spdxPackage struct {
	ID        string          `json:"SPDXID"`
	Name      string          `json:"name"`
	Version   string          `json:"versionInfo,omitempty"`
	Supplier  string          `json:"supplier"`
	File      string          `json:"packageFileName,omitempty"`
	Location  string          `json:"downloadLocation"`
	Analyzed  bool            `json:"filesAnalyzed"`
	Checksums []spdxChecksum  `json:"checksums,omitempty"`
	Concluded string          `json:"licenseConcluded"`
	Declared  string          `json:"licenseDeclared"`
	Copyright string          `json:"copyrightText"`
	Comment   string          `json:"comment,omitempty"`
	Refs      []spdxReference `json:"externalRefs,omitempty"`
	Purpose   string          `json:"primaryPackagePurpose,omitempty"`
}

type spdxChecksum struct {
	Algorithm string `json:"algorithm"`
	Value     string `json:"checksumValue"`
}

type spdxReference struct {
	Category string `json:"referenceCategory"`
	Type     string `json:"referenceType"`
	Locator  string `json:"referenceLocator"`
}

type spdxRelationship struct {
	From string `json:"spdxElementId"`
	Type string `json:"relationshipType"`
	To   string `json:"relatedSpdxElement"`
}

const spdxDocumentID = "SPDXRef-DOCUMENT"

// encodeSPDX converts the list to SPDX 2.3.
func encodeSPDX(bom *cdx.BOM) ([]byte, error) {
	whole := bom.Metadata.Component
	doc := spdxDocument{
		Version: "SPDX-2.3", DataLicence: "CC0-1.0", ID: spdxDocumentID,
		Name:      fmt.Sprintf("semantic-%s", whole.Version),
		Namespace: fmt.Sprintf("https://%s/spdx/%s-%d", Module, strings.TrimPrefix(bom.SerialNumber, "urn:uuid:"), bom.Version),
		Creation: spdxCreation{
			Created:  bom.Metadata.Timestamp,
			Creators: []string{"Organization: " + Supplier, "Tool: semantic-" + whole.Version},
			Comment:  "Converted from the CycloneDX document " + bom.SerialNumber + "; made at the lifecycle phase build.",
		},
		Describes:     []string{spdxID(whole.BOMRef)},
		Relationships: []spdxRelationship{{spdxDocumentID, "DESCRIBES", spdxID(whole.BOMRef)}},
	}
	doc.Packages = append(doc.Packages, spdxPackageOf(whole))
	for i := range *bom.Components {
		c := &(*bom.Components)[i]
		doc.Packages = append(doc.Packages, spdxPackageOf(c))
		if c.Type == cdx.ComponentTypeFile {
			doc.Relationships = append(doc.Relationships, spdxRelationship{spdxID(whole.BOMRef), "CONTAINS", spdxID(c.BOMRef)})
		}
	}
	for _, d := range *bom.Dependencies {
		if d.Dependencies == nil || len(*d.Dependencies) == 0 {
			doc.Relationships = append(doc.Relationships, spdxRelationship{spdxID(d.Ref), "DEPENDS_ON", "NONE"})
			continue
		}
		for _, to := range *d.Dependencies {
			doc.Relationships = append(doc.Relationships, spdxRelationship{spdxID(d.Ref), "DEPENDS_ON", spdxID(to)})
		}
	}
	b, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("cannot write the SPDX document: %w", err)
	}
	return append(b, '\n'), nil
}

func spdxPackageOf(c *cdx.Component) spdxPackage {
	licence := Expression(c)
	p := spdxPackage{
		ID: spdxID(c.BOMRef), Name: c.Name, Version: c.Version,
		Supplier: "NOASSERTION", Location: "NOASSERTION",
		Concluded: licence, Declared: licence, Copyright: "NOASSERTION",
		File: Property(c, "bsi:component:filename"),
	}
	if c.Supplier != nil && c.Supplier.Name != "" {
		p.Supplier = "Organization: " + c.Supplier.Name
	}
	if c.Copyright != "" {
		p.Copyright = c.Copyright
	}
	if h1 := Property(c, PropertyH1); h1 != "" {
		p.Comment = "Go checksum (the hash of no file): " + h1
	}
	if c.Hashes != nil {
		for _, h := range *c.Hashes {
			p.Checksums = append(p.Checksums, spdxChecksum{strings.ReplaceAll(string(h.Algorithm), "-", ""), h.Value})
		}
	}
	if c.PackageURL != "" {
		p.Refs = append(p.Refs, spdxReference{"PACKAGE-MANAGER", "purl", c.PackageURL})
	}
	if c.CPE != "" {
		p.Refs = append(p.Refs, spdxReference{"SECURITY", "cpe23Type", c.CPE})
	}
	switch c.Type {
	case cdx.ComponentTypeApplication:
		p.Purpose = "APPLICATION"
	case cdx.ComponentTypeFile:
		p.Purpose = "FILE"
	case cdx.ComponentTypeLibrary:
		p.Purpose = "LIBRARY"
	default:
		p.Purpose = "OTHER"
	}
	return p
}

var notSPDX = regexp.MustCompile(`[^A-Za-z0-9.-]+`)

func spdxID(ref string) string {
	return "SPDXRef-" + strings.Trim(notSPDX.ReplaceAllString(strings.TrimPrefix(ref, "pkg:"), "-"), "-")
}
