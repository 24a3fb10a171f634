import { actions } from './actions'
import { configure } from './actions/configure'
import { restoreInit } from './backups'
import { setDependencies } from './dependencies'
import { settings } from './fileModels/settings'
import { setInterfaces } from './interfaces'
import { sdk } from './sdk'
import { versionGraph } from './versions'

/** Asks for the payout address, without which the node does not start. */
const askForAddress = sdk.setupOnInit(async (effects) => {
  await settings.merge(effects, {})
  if (!(await settings.read((file) => file.address).const(effects))) {
    await sdk.action.createOwnTask(effects, configure, 'critical', {
      reason: 'Your miners need a payout address.',
    })
  }
})

export const init = sdk.setupInit(
  restoreInit,
  versionGraph,
  setInterfaces,
  setDependencies,
  actions,
  askForAddress,
)

export const uninit = sdk.setupUninit(versionGraph)
