package release

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// What statements are about.
const (
	statementType      = "https://in-toto.io/Statement/v1"
	predicateSLSA      = "https://slsa.dev/provenance/v1"
	predicateCycloneDX = "https://cyclonedx.org/bom"

	buildType = "https://github.com/semantic-pod/semantic/docs/compliance.md#make-dist"
	builderID = "https://github.com/semantic-pod/semantic/docs/compliance.md#a-builders-own-machine"
)

// Statement is an in-toto statement.
type Statement struct {
	Type          string          `json:"_type"`
	Subject       []Subject       `json:"subject"`
	PredicateType string          `json:"predicateType"`
	Predicate     json.RawMessage `json:"predicate"`
}

// Subject is a file by its hash.
type Subject struct {
	Name   string            `json:"name"`
	Digest map[string]string `json:"digest"`
}

// Provenance is an SLSA v1 predicate: what was built, from what, and by whom.
type Provenance struct {
	BuildDefinition BuildDefinition `json:"buildDefinition"`
	RunDetails      RunDetails      `json:"runDetails"`
}

// BuildDefinition is what a builder needs to do the same again.
type BuildDefinition struct {
	BuildType            string         `json:"buildType"`
	ExternalParameters   map[string]any `json:"externalParameters"`
	InternalParameters   map[string]any `json:"internalParameters,omitempty"`
	ResolvedDependencies []Resource     `json:"resolvedDependencies,omitempty"`
}

// Resource is something that went into the build.
type Resource struct {
	URI         string            `json:"uri"`
	Digest      map[string]string `json:"digest,omitempty"`
	Annotations map[string]any    `json:"annotations,omitempty"`
}

// RunDetails say who built. Times are left out: they would make two equal builds differ.
type RunDetails struct {
	Builder struct {
		ID string `json:"id"`
	} `json:"builder"`
}

// NewProvenance returns a predicate of our kind of build.
func NewProvenance(external, internal map[string]any, resolved []Resource) Provenance {
	p := Provenance{BuildDefinition: BuildDefinition{
		BuildType: buildType, ExternalParameters: external, InternalParameters: internal, ResolvedDependencies: resolved,
	}}
	p.RunDetails.Builder.ID = builderID
	return p
}

func newStatement(predicateType string, predicate any, subjects []Subject) ([]byte, error) {
	p, err := json.Marshal(predicate)
	if err != nil {
		return nil, err
	}
	return json.Marshal(Statement{Type: statementType, Subject: subjects, PredicateType: predicateType, Predicate: p})
}

func parseStatement(b []byte, predicateType string) (*Statement, error) {
	s := new(Statement)
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(s); err != nil {
		return nil, fmt.Errorf("this is no in-toto statement: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the in-toto statement")
	}
	if s.Type != statementType || s.PredicateType != predicateType {
		return nil, fmt.Errorf("the statement is %s of %s, not %s of %s", s.Type, s.PredicateType, statementType, predicateType)
	}
	return s, nil
}
