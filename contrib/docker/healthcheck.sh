#!/bin/bash
# Requests the health of the node on this machine; needs no program but bash. Exit status 0: the node is healthy; 1: it is not,
# and the output says why; 2: it does not respond.
#
#   healthcheck.sh [PORT]     PORT, or $STRATUM_PORT, is the node's -stratum-port (default 3333)
set -u

port=${1:-${STRATUM_PORT:-3333}}
if ! { exec 3<>"/dev/tcp/127.0.0.1/$port"; } 2>/dev/null; then
    echo "nothing listens on port $port"
    exit 2
fi
printf 'GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&3
# The node responds at once unless it hangs.
read -r -t 5 _ status _ <&3 || { echo "no response from port $port"; exit 2; }
while read -r -t 5 line && [ "$line" != $'\r' ]; do :; done <&3
# The body has the reasons, as JSON.
read -r -t 5 -N 4096 body <&3
printf '%s\n' "$body"
[ "$status" = 200 ]
