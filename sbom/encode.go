package sbom

import (
	"bytes"
	"fmt"
	"io"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// Form is one way to write the list.
type Form string

const (
	JSON Form = "json" // CycloneDX 1.6
	XML  Form = "xml"  // CycloneDX 1.6
	SPDX Form = "spdx" // SPDX 2.3, JSON
)

// Encode writes the list in that form.
func Encode(bom *cdx.BOM, form Form) ([]byte, error) {
	var out bytes.Buffer
	switch form {
	case SPDX:
		return encodeSPDX(bom)
	case JSON, XML:
		format := cdx.BOMFileFormatJSON
		if form == XML {
			format = cdx.BOMFileFormatXML
		}
		if err := cdx.NewBOMEncoder(&out, format).SetPretty(true).SetEscapeHTML(false).EncodeVersion(bom, cdx.SpecVersion1_6); err != nil {
			return nil, fmt.Errorf("cannot write the SBOM: %w", err)
		}
		return out.Bytes(), nil
	}
	return nil, fmt.Errorf("cannot write the SBOM: there is no form %q, but json, xml and spdx", form)
}

// Decode reads a CycloneDX list, JSON or XML.
func Decode(r io.Reader) (*cdx.BOM, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxSBOM+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxSBOM {
		return nil, fmt.Errorf("an SBOM of more than %d MiB is none of ours", maxSBOM>>20)
	}
	format := cdx.BOMFileFormatJSON
	if bytes.HasPrefix(bytes.TrimSpace(b), []byte("<")) {
		format = cdx.BOMFileFormatXML
	}
	bom := new(cdx.BOM)
	if err := cdx.NewBOMDecoder(bytes.NewReader(b), format).Decode(bom); err != nil {
		return nil, fmt.Errorf("this is no CycloneDX document: %w", err)
	}
	if bom.Metadata == nil || bom.Metadata.Component == nil || bom.Components == nil {
		return nil, fmt.Errorf("this CycloneDX document names no component: it is no SBOM of a build")
	}
	return bom, nil
}

const maxSBOM = 16 << 20
