import { peerPort, stratumPort } from './constants'
import { sdk } from './sdk'

const common = { masked: false, schemeOverride: null, username: null, path: '', query: {} }

export const setInterfaces = sdk.setupInterfaces(async ({ effects }) => {
  // One port serves miners and browsers.
  const stratum = await sdk.MultiHost.of(effects, 'stratum').bindPort(stratumPort, {
    protocol: null,
    addSsl: null,
    preferredExternalPort: stratumPort,
    secure: { ssl: false },
  })
  const peers = await sdk.MultiHost.of(effects, 'peers').bindPort(peerPort, {
    protocol: null,
    addSsl: null,
    preferredExternalPort: peerPort,
    secure: { ssl: false },
  })
  return [
    await stratum.export([
      sdk.createInterface(effects, {
        ...common,
        id: 'ui',
        name: 'Dashboard',
        description: 'What the miners do, and what a block found now would pay',
        type: 'ui',
        schemeOverride: { ssl: 'https', noSsl: 'http' },
      }),
      sdk.createInterface(effects, {
        ...common,
        id: 'stratum',
        name: 'Miners',
        description: 'Point your miners here',
        type: 'api',
        schemeOverride: { ssl: null, noSsl: 'stratum+tcp' },
      }),
    ]),
    await peers.export([
      sdk.createInterface(effects, {
        ...common,
        id: 'peers',
        name: 'Other nodes',
        description: 'Make it public so that other nodes of the pool can connect',
        type: 'p2p',
      }),
    ]),
  ]
})
