#!/bin/bash
# Runs p2pool as the first process of a container. A stop by SIGTERM has exit status 143, not 0: with `restart: on-failure`, the
# engine starts a container again after a reboot of the machine only if its last exit status was not 0. (It does not start one
# that was stopped by its user, whatever the status.)
set -u

stopped=
p2pool "$@" &
pid=$!
trap 'stopped=1; kill -TERM "$pid"' TERM INT
# The trap interrupts the first wait.
while wait "$pid"; status=$?; kill -0 "$pid" 2>/dev/null; do :; done
[ -z "$stopped" ] || [ "$status" != 0 ] || status=143
exit "$status"
