//go:build gcs

package objectstore

import _ "gocloud.dev/blob/gcsblob" // gs://
