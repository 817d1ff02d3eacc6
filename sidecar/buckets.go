package sidecar

import (
	"fmt"
	"net/url"

	"gocloud.dev/blob"
	_ "gocloud.dev/blob/fileblob" // file://
	_ "gocloud.dev/blob/s3blob"   // s3://
)

// Drivers that cost much are in the binary only if it is built with their tag.
var tagOfScheme = map[string]string{"gs": "gcs", "azblob": "azure"}

// checkStore says whether this binary can write to such an address.
func checkStore(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Scheme == "" {
		return fmt.Errorf("--ship-to=%s is no address such as s3://bucket?region=eu-central-1 or file:///mnt/logs", address)
	}
	if blob.DefaultURLMux().ValidBucketScheme(u.Scheme) {
		return nil
	}
	if tag := tagOfScheme[u.Scheme]; tag != "" {
		return fmt.Errorf("--ship-to=%s: %s:// is not in this binary; build it with -tags %s", address, u.Scheme, tag)
	}
	return fmt.Errorf("--ship-to=%s: there is no store of the kind %s://; there are s3, gs, azblob and file", address, u.Scheme)
}
