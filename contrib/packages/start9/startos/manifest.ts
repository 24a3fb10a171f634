import { setupManifest } from '@start9labs/start-sdk'

// packageRepo, upstreamRepo and marketingUrl: fill in where this package is published.
export const manifest = setupManifest({
  id: 'p2pool',
  title: 'P2Pool',
  license: 'MIT',
  packageRepo: '',
  upstreamRepo: '',
  marketingUrl: '',
  donationUrl: null,
  description: {
    short: { en_US: 'A Bitcoin mining pool without an operator' },
    long: {
      en_US:
        'Each miner runs this program next to their own Bitcoin node. When a member of the pool finds a block, its coinbase pays everyone who worked for it, directly to their own addresses.',
    },
  },
  volumes: ['main'],
  images: {
    p2pool: {
      // `make` builds it from the source at the top level.
      source: { dockerBuild: { workdir: '../../..', dockerfile: '../../docker/Dockerfile' } },
      arch: ['x86_64', 'aarch64'],
    },
  },
  dependencies: {
    bitcoind: {
      description: { en_US: 'Makes the block templates and receives the found blocks.' },
      optional: false,
      metadata: { title: 'Bitcoin', icon: '' },
    },
  },
})
