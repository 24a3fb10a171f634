#!/bin/bash
# Asks the node on this machine for its health, without any program but bash. Exit status 0: it has fresh work and a synced
# chain; 1: it answers and says what is wrong; 2: it does not answer.
#
#   healthcheck.sh [PORT]     PORT, or $STRATUM_PORT, is the node's -stratum-port (default 3333)
set -u

port=${1:-${STRATUM_PORT:-3333}}
if ! { exec 3<>"/dev/tcp/127.0.0.1/$port"; } 2>/dev/null; then
    echo "nothing listens on port $port"
    exit 2
fi
printf 'GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&3
# The node answers at once; one that hangs is not healthy.
read -r -t 5 _ status _ <&3 || { echo "no answer from port $port"; exit 2; }
while read -r -t 5 line && [ "$line" != $'\r' ]; do :; done <&3
# The rest is the reasons, as JSON.
read -r -t 5 -N 4096 body <&3
printf '%s\n' "$body"
[ "$status" = 200 ]
