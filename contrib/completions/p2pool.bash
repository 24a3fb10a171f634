# Completion of p2pool for bash.
_p2pool() {
    local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
    case $previous in
    help | -help) mapfile -t COMPREPLY < <(compgen -W "miners bitcoind network tor peers web files testing" -- "$word") ;;
    -network) mapfile -t COMPREPLY < <(compgen -W "mainnet testnet3 testnet4 signet regtest" -- "$word") ;;
    -log-level) mapfile -t COMPREPLY < <(compgen -W "error warn info debug trace" -- "$word") ;;
    -rpc-cookie-file | -config | -data-dir) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
    *) mapfile -t COMPREPLY < <(compgen -W "export help health status miners peers bans shares payouts blocks ban unban connect disconnect log-level -address -stratum-port -stratum-bind -start-difficulty -max-sessions -no-work-timeout -coinbase-tag -coinbase-outputs -network -rpc-host -rpc-port -rpc-user -rpc-password -rpc-cookie-file -signet-challenge -p2p-port -p2p-bind -no-listen -external-address -upnp -proxy -onlynet -onion-address -bootnodes -add-peer -mdns -dht-server -max-inbound -max-outbound -max-upload -chain-name -web-bind -web-hosts -config -data-dir -log-level -version -share-period -payout-window -retarget-window -activation-height -rules-version" -- "$word") ;;
    esac
}
complete -F _p2pool p2pool
