import { sdk } from './sdk'

export const setDependencies = sdk.setupDependencies(async () => ({
  // The node waits for bitcoind by itself.
  bitcoind: { kind: 'exists', versionRange: '>=28.0:0' },
}))
