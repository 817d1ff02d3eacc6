#!/usr/bin/env bash
# Builds the image NAME from BINARY with whichever tool is there. What goes in is set
# here, times and modes included, so that the same binary gives the same image.
set -euo pipefail
cd "$(dirname "$0")/.."
binary=$1 name=$2

usable() { # docker's client may be there without its daemon
	command -v "$1" >/dev/null && { [ "$1" != docker ] || docker info >/dev/null 2>&1; }
}
tool=${IMAGE_TOOL:-}
for candidate in podman buildah docker; do
	[ -n "$tool" ] || ! usable "$candidate" || tool=$candidate
done
if [ -z "$tool" ]; then
	echo "make image: needs podman, buildah or docker (with its daemon); on Debian: make test-setup" >&2
	exit 1
fi
case $(od -A n -t x1 -N 4 "$binary" | tr -d ' ') in
7f454c46) ;;
*) echo "make image: $binary is no Linux binary" >&2 && exit 1 ;;
esac

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
install -m 0555 "$binary" "$context/semantic"
install -d -m 0755 "$context/state" && install -d -m 0700 "$context/state/data"
find "$context" -exec touch --no-dereference --date=@0 {} +

labels=(
	--label org.opencontainers.image.title=semantic
	--label org.opencontainers.image.version="$("$binary" version | sed 's/^semantic \([^,]*\),.*/\1/')"
	--label org.opencontainers.image.licenses=Apache-2.0
)
case $tool in
podman | buildah) # without layers of its own for each step and without its version, in which the two differ
	"$tool" build --quiet --layers=false --identity-label=false --timestamp 0 --network none --tag "$name" "${labels[@]}" --file deploy/Containerfile "$context"
	;;
docker)
	# BuildKit takes the time from here; docker's old builder writes its own into the image.
	docker buildx version >/dev/null 2>&1 || echo "make image: docker has no buildx: what is in the image is the same each time, its id is not" >&2
	SOURCE_DATE_EPOCH=0 docker build --quiet ${IMAGE_CACHE:+--no-cache} --network none --tag "$name" "${labels[@]}" --file deploy/Containerfile "$context"
	;;
*) echo "make image: IMAGE_TOOL=$tool is none of podman, buildah and docker" >&2 && exit 1 ;;
esac
