#!/usr/bin/env bash
# Unpacks the newest nginx and HAProxy that Debian has, of its unstable release, into a
# folder beside the C library that they are built for, without installing anything: the
# folder's bin/nginx and bin/haproxy run them. The mirror is the one that apt uses here.
#
# newest.sh FOLDER
set -euo pipefail
folder=$(mkdir -p "$1" && cd "$1" && pwd)
keys=/usr/share/keyrings/debian-archive-keyring.gpg
site=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | head -n 1)
if [ -z "$site" ] || [ ! -r "$keys" ]; then
	echo "bench/proxy/newest.sh: this is no Debian, or apt-get update has not run: measure what is installed by PEERS=installed" >&2
	exit 1
fi

mkdir -p "$folder/apt/lists/partial" "$folder/apt/cache/archives/partial" "$folder/debs" "$folder/bin"
echo "deb [signed-by=$keys] $site sid main" >"$folder/apt/sources.list"
cat >"$folder/apt/apt.conf" <<END
Dir::Etc::sourcelist "$folder/apt/sources.list";
Dir::Etc::sourceparts "-";
Dir::State::lists "$folder/apt/lists";
Dir::Cache "$folder/apt/cache";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
END
export APT_CONFIG="$folder/apt/apt.conf"
apt-get update -qq
cd "$folder/debs"
apt-get download -qq nginx haproxy libc6 libcrypt1 libpcre2-8-0 libssl3t64 zlib1g libzstd1 liblua5.4-0 libgcc-s1 \
	libstdc++6 libjemalloc2 libopentracing-c-wrapper0t64 libopentracing1 2>/dev/null
for deb in *.deb; do dpkg -x "$deb" "$folder/root"; done
cd "$folder"
rm -rf "$folder/debs" "$folder/apt"

libraries=$folder/root/usr/lib/x86_64-linux-gnu
for name in nginx haproxy; do
	printf '#!/bin/sh\nexec %s/ld-linux-x86-64.so.2 --library-path %s %s/root/usr/sbin/%s "$@"\n' "$libraries" "$libraries" "$folder" "$name" >"$folder/bin/$name"
	chmod +x "$folder/bin/$name"
	"$folder/bin/$name" -v 2>&1 | head -n 1
done
