#!/usr/bin/env bash
# Builds what `make bench-proxy` compares, measures, and draws the plot. Arguments go to
# the benchmark: -smoke, -cases, -rounds, -duration. nginx and HAProxy are the newest that
# Debian has; with PEERS=installed, and for -smoke, they are the installed ones.
set -euo pipefail
cd "$(dirname "$0")/../.."

# The command that proves a Debian package, and its name.
missing=()
for pair in nginx:nginx haproxy:haproxy wrk:wrk python3:python3; do
	command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
if [ ${#missing[@]} -gt 0 ]; then
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		apt-get update -qq
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
	else
		echo "make bench-proxy: install these first (Debian's names): ${missing[*]}" >&2
		exit 1
	fi
fi

go build -o .tools/bench/reverseproxy ./bench/proxy/peers/reverseproxy
go build -o .tools/bench/proxy ./bench/proxy
(cd bench/proxy/peers/caddy && go build -o ../../../../.tools/bench/caddy .)

case " $* " in *" -smoke "*) PEERS=installed ;; esac
if [ "${PEERS:-newest}" = newest ]; then
	[ -x .tools/bench/newest/bin/haproxy ] || bench/proxy/newest.sh .tools/bench/newest
	PATH=$PWD/.tools/bench/newest/bin:$PATH
fi
.tools/bench/proxy "$@"
case " $* " in *" -smoke "*) exit 0 ;; esac
venv=.tools/bench/venv
[ -x "$venv/bin/python" ] || { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet --disable-pip-version-check matplotlib==3.11.2; }
"$venv/bin/python" bench/proxy/plot.py bench/proxy.json bench/proxy.png
go test ./bench/proxy -run 'PageIsThatOfTheCode$' -update >/dev/null # the tables in docs/ and README.md
