// Package objectstore reaches the stores that the pod keeps things in for longer than itself:
// S3 and what speaks as it does, a folder that several machines mount, and, in a binary that is
// built with their tags, Google's and Azure's.
//
// Read: objectstore (which stores there are), bucket (what a store can do), remote (by way of
// gocloud.dev/blob), folder (a file system).
package objectstore

import (
	"fmt"
	"net/url"

	"gocloud.dev/blob"
	_ "gocloud.dev/blob/fileblob" // file://
	_ "gocloud.dev/blob/s3blob"   // s3://
)

// Drivers that cost much are in the binary only if it is built with their tag.
var tagOfScheme = map[string]string{"gs": "gcs", "azblob": "azure"}

// Check says whether this binary can write to the address that a flag gave.
func Check(flag, address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Scheme == "" {
		return fmt.Errorf("%s=%s is no address such as s3://bucket?region=eu-central-1 or file:///mnt/store", flag, address)
	}
	if blob.DefaultURLMux().ValidBucketScheme(u.Scheme) {
		return nil
	}
	if tag := tagOfScheme[u.Scheme]; tag != "" {
		return fmt.Errorf("%s=%s: %s:// is not in this binary; build it with -tags %s", flag, address, u.Scheme, tag)
	}
	return fmt.Errorf("%s=%s: there is no store of the kind %s://; there are s3, gs, azblob and file", flag, address, u.Scheme)
}
