//go:build gcs

package sidecar

import _ "gocloud.dev/blob/gcsblob" // gs://
