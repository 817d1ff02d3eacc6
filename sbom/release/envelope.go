// Package release writes and checks what proves a release: the sums of its files, and
// in-toto statements about them in DSSE envelopes signed with an Ed25519 key.
//
// Read: envelope, statement, write, verify.
package release

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
)

// payloadType is that of every in-toto statement.
const payloadType = "application/vnd.in-toto+json"

// KeyID names a public key: the SHA-256 of its DER form.
func KeyID(key ed25519.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "", fmt.Errorf("cannot name the key: %w", err)
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:]), nil
}

// signer is an Ed25519 key as the DSSE library takes it.
type signer struct{ key ed25519.PrivateKey }

func (s signer) Sign(_ context.Context, data []byte) ([]byte, error) {
	return ed25519.Sign(s.key, data), nil
}

func (s signer) KeyID() (string, error) { return KeyID(s.key.Public().(ed25519.PublicKey)) }

// seal signs a statement.
func seal(statement []byte, key ed25519.PrivateKey) ([]byte, error) {
	s, err := dsse.NewEnvelopeSigner(signer{key})
	if err != nil {
		return nil, err
	}
	e, err := s.SignPayload(context.Background(), payloadType, statement)
	if err != nil {
		return nil, fmt.Errorf("cannot sign: %w", err)
	}
	return encodeEnvelope(e)
}

// encodeEnvelope is the one form in which an envelope is written and accepted.
func encodeEnvelope(e *dsse.Envelope) ([]byte, error) {
	b, err := json.Marshal(e)
	return append(b, '\n'), err
}

// unseal returns the statement of an envelope that the key signed. A single byte that
// is not as it was written is an error, also where no signature reaches.
func unseal(envelope []byte, key ed25519.PublicKey) ([]byte, error) {
	e := new(dsse.Envelope)
	if err := json.Unmarshal(envelope, e); err != nil {
		return nil, fmt.Errorf("this is no DSSE envelope: %w", err)
	}
	if same, err := encodeEnvelope(e); err != nil || !bytes.Equal(same, envelope) {
		return nil, errors.New("the envelope is not in the form in which it was written")
	}
	id, err := KeyID(key)
	if err != nil {
		return nil, err
	}
	if len(e.Signatures) != 1 || e.Signatures[0].KeyID != id {
		return nil, fmt.Errorf("the envelope is not signed with the key %.12s", id)
	}
	if e.PayloadType != payloadType {
		return nil, fmt.Errorf("the envelope holds %q, not an in-toto statement", e.PayloadType)
	}
	payload, err := base64.StdEncoding.Strict().DecodeString(e.Payload)
	if err != nil {
		return nil, fmt.Errorf("cannot read the envelope: %w", err)
	}
	signature, err := base64.StdEncoding.Strict().DecodeString(e.Signatures[0].Sig)
	if err != nil {
		return nil, fmt.Errorf("cannot read the envelope: %w", err)
	}
	if !ed25519.Verify(key, dsse.PAE(payloadType, payload), signature) {
		return nil, errors.New("the signature is not of this content")
	}
	return payload, nil
}
