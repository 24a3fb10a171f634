import { bitcoinDir, dataDir, stratumPort } from './constants'
import { settings } from './fileModels/settings'
import { sdk } from './sdk'

export const main = sdk.setupMain(async ({ effects }) => {
  // The node is started again when these change.
  await settings.read().const(effects)
  const rpc = await sdk.host
    .getBridgeAddress(effects, { packageId: 'bitcoind', hostId: 'rpc', internalPort: 8332, ssl: false })
    .const()
  const [host, port] = rpc?.split(':') ?? ['127.0.0.1', '8332']

  return sdk.Daemons.of(effects).addDaemon('p2pool', {
    subcontainer: await sdk.SubContainer.of(
      effects,
      { imageId: 'p2pool' },
      sdk.Mounts.of()
        .mountVolume({ volumeId: 'main', subpath: null, mountpoint: dataDir, readonly: false })
        .mountDependency({
          dependencyId: 'bitcoind',
          volumeId: 'main',
          subpath: null,
          mountpoint: bitcoinDir,
          readonly: true,
        }),
      'p2pool',
    ),
    exec: {
      command: ['p2pool'],
      // The volumes belong to root here.
      user: 'root',
      env: {
        P2POOL_DATA_DIR: dataDir,
        P2POOL_RPC_HOST: host,
        P2POOL_RPC_PORT: port,
        P2POOL_RPC_COOKIE_FILE: `${bitcoinDir}/.cookie`,
      },
    },
    ready: {
      display: 'Miners and dashboard',
      fn: () =>
        sdk.healthCheck.checkPortListening(effects, stratumPort, {
          successMessage: 'The node accepts miners',
          errorMessage: 'The node does not accept miners',
        }),
    },
    requires: [],
  })
})
