#!/usr/bin/env bash
# Tests monitoring as contrib/docs/monitoring.md describes it: promtool checks the guide's configuration and the alert rules and runs
# their unit tests, and a Prometheus scrapes a node of target/debug and evaluates every query of the dashboard. Takes Prometheus
# from PATH, or from Debian's package, which it unpacks without installing it. Is skipped if there is neither.
set -euo pipefail
cd "$(dirname "$0")/../.."
. contrib/common.sh

# Prometheus and a node start within seconds.
readonly WAIT_S=60

(install_packages jq python3) || skip contrib/grafana/test.sh "needs the packages jq and python3"
work=$(mktemp -d)
pids=()
clean_up() {
    trap - EXIT INT TERM
    [ ${#pids[@]} = 0 ] || kill "${pids[@]}" 2>/dev/null || true
    wait
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

if ! command -v promtool >/dev/null || ! command -v prometheus >/dev/null; then
    unpacked=$(unpack_package prometheus) ||
        skip contrib/grafana/test.sh "there is no promtool, and its package prometheus cannot be fetched"
    PATH=$unpacked/usr/bin:$PATH
fi
target=$(cargo metadata --locked --no-deps --format-version 1 | jq -r .target_directory)/debug

say "== unit tests of the alert rules"
promtool test rules contrib/grafana/alerts_test.yml >"$work/log" 2>&1 || { cat "$work/log" >&2; die "an alert does not fire as it should"; }

say "== the guide's configuration, with a node that runs and one that does not"
port=$(free_port) prometheus_port=$(free_port) down_port=$(free_port)
cp contrib/grafana/alerts.yml "$work/"
{
    printf 'global: {scrape_interval: 1s, evaluation_interval: 1s}\n'
    guide_block contrib/docs/monitoring.md scrape | sed "s/\"192.168.1.5:3333\"/\"127.0.0.1:$port\", \"127.0.0.1:$down_port\"/"
} >"$work/prometheus.yml"
commands=$(guide_block contrib/docs/monitoring.md promtool)
(cd "$work" && eval "$commands") >"$work/log" 2>&1 || { cat "$work/log" >&2; die "promtool does not accept the configuration"; }

"$target/p2pool" -network regtest -address bcrt1qqypqxpq9qcrsszg2pvxq6rs0zqg3yyc5phstwt -rpc-user none -rpc-password none -rpc-port "$down_port" \
    -stratum-port "$port" -p2p-port 0 -mdns=false -data-dir "$work/data" 2>"$work/node.log" &
pids+=($!)
prometheus --config.file="$work/prometheus.yml" --storage.tsdb.path="$work/tsdb" --web.listen-address="127.0.0.1:$prometheus_port" \
    --log.level=error 2>"$work/prometheus.log" &
pids+=($!)

# Prints the values of a query, one a line: instance, value.
query() {
    promtool query instant -o json "http://127.0.0.1:$prometheus_port" "$1" 2>/dev/null | jq -r '.[] | "\(.metric.instance) \(.value[1])"'
}
await_query() {
    local _
    for _ in $(seq $((WAIT_S * 5))); do
        [ "$(query "$1" | sort)" != "$2" ] || return 0
        sleep 0.2
    done
    cat "$work/node.log" "$work/prometheus.log" >&2
    die "the query $1 gives '$(query "$1")', not '$2'"
}
await_query 'up{job="p2pool"} == 1' "127.0.0.1:$port 1"
await_query 'up{job="p2pool"} == 0' "127.0.0.1:$down_port 0"
await_query 'ALERTS{alertname="P2poolDown",alertstate="pending"}' "127.0.0.1:$down_port 1"
await_query 'process_resident_memory_bytes > bool 1000000' "127.0.0.1:$port 1"

say "== the dashboard's queries"
count=0
while IFS= read -r expr; do
    promtool query instant "http://127.0.0.1:$prometheus_port" "${expr//\$instance/.*}" >/dev/null 2>"$work/log" ||
        { cat "$work/log" >&2; die "Prometheus does not accept the query $expr"; }
    count=$((count + 1))
done < <(jq -r '.. | .expr? // empty' contrib/grafana/dashboard.json)
[ "$count" -ge 40 ] || die "the dashboard has only $count queries"
jq -e '[.panels[] | .gridPos as $g | range($g.x; $g.x + $g.w) as $x | range($g.y; $g.y + $g.h) as $y | [$x, $y]]
    | length == (unique | length) and all(.[0] < 24)' contrib/grafana/dashboard.json >/dev/null || die "panels of the dashboard overlap"
say "the alerts fire, and Prometheus scrapes a node and evaluates $count queries"
