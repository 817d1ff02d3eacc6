package main

import (
	"fmt"
	"path/filepath"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"github.com/semantic-pod/semantic/engine/gguf"
	"github.com/semantic-pod/semantic/sbom"
)

// ownLicence is that of our sources, whose text is LICENSE.
const ownLicence = "Apache-2.0"

// builtinComponent is the model that the binary embeds, whose version is the binary's.
func builtinComponent(root string, metadata *cdx.Metadata) (cdx.Component, error) {
	path := filepath.Join(root, filepath.FromSlash(sbom.BuiltinFile))
	licence, err := modelLicence(path)
	if err != nil {
		return cdx.Component{}, fmt.Errorf("the built-in model: %w", err)
	}
	if licence != ownLicence {
		return cdx.Component{}, fmt.Errorf("the built-in model is under %s, and NOTICE has no text of that", licence)
	}
	hashes, err := hashFile(path)
	if err != nil {
		return cdx.Component{}, err
	}
	whole := metadata.Component
	properties := append([]cdx.Property{
		{Name: "semantic:where", Value: "embedded in the binary, from " + sbom.BuiltinFile},
		{Name: "semantic:cpe", Value: "none was assigned"},
	}, bsi(filepath.Base(path), "non-executable", "no archive", "structured")...)
	return cdx.Component{
		BOMRef: sbom.BuiltinRef, Type: cdx.ComponentTypeMachineLearningModel, Name: sbom.BuiltinName, Scope: cdx.ScopeRequired,
		Description: "The model that answers where no other is given: a Llama of a million weights, trained by tools/builtin-model on a corpus written for it",
		Supplier:    whole.Supplier, Manufacturer: whole.Manufacturer, Authors: whole.Authors, Hashes: hashes,
		Licenses: licences([]string{licence}), Copyright: whole.Copyright, ExternalReferences: whole.ExternalReferences,
		Properties: &properties,
	}, nil
}

// modelLicence is the licence that a model file says to be under.
func modelLicence(path string) (string, error) {
	f, err := gguf.Open(path)
	if err != nil {
		return "", err
	}
	licence, _ := f.String("general.license")
	if err := f.Close(); err != nil {
		return "", err
	}
	if licence == "" {
		return "", fmt.Errorf("%s does not tell its licence: general.license is not set", path)
	}
	return licence, nil
}
