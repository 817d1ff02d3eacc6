//go:build azure

package objectstore

import _ "gocloud.dev/blob/azureblob" // azblob://
