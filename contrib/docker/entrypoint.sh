#!/bin/bash
# Runs p2pool as the first process of a container. A stop by SIGTERM has exit status 143, not 0: with `restart: on-failure`, the
# engine starts a container again after a reboot of the machine only if its last exit status was not 0. (It starts one that was
# stopped by `docker compose stop` as well, as with `restart: always`; `docker compose down` removes it.)
set -u

stopped=
p2pool "$@" &
pid=$!
trap 'stopped=1; kill -TERM "$pid"' TERM INT
# The trap interrupts the first wait.
while wait "$pid"; status=$?; kill -0 "$pid" 2>/dev/null; do :; done
[ -z "$stopped" ] || [ "$status" != 0 ] || status=143
exit "$status"
