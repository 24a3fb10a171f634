#!/bin/bash
# Requests the health of the node on this machine; needs no program but bash. Exit status 0: the node is healthy; 1: it is not,
# and the output says why; 2: it does not respond.
#
#   healthcheck.sh [PORT]     PORT is the node's -stratum-port; default: that of process 1, as in a container, or 3333
set -u

# Prints the port that process 1 has on its command line.
port_of_process_1() {
    local port=3333 word previous=
    while IFS= read -r -d '' word; do
        case $previous in -stratum-port | --stratum-port) port=$word ;; esac
        case $word in -stratum-port=* | --stratum-port=*) port=${word#*=} ;; esac
        previous=$word
    done </proc/1/cmdline
    printf '%s\n' "$port"
}

port=${1:-$(port_of_process_1)}
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
