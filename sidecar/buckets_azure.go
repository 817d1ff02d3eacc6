//go:build azure

package sidecar

import _ "gocloud.dev/blob/azureblob" // azblob://
