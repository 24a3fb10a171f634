/** Where the node listens. */
export const stratumPort = 3333
export const peerPort = 9171
/** Where the volume is mounted: the node's data directory. */
export const dataDir = '/data'
/** Where the volume of the Bitcoin package is mounted, for the cookie. */
export const bitcoinDir = '/mnt/bitcoin'
