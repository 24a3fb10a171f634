import { utils } from '@start9labs/start-sdk'
import { settings } from '../fileModels/settings'
import { sdk } from '../sdk'

const { InputSpec, Value } = sdk

const input = InputSpec.of({
  address: Value.text({
    name: 'Payout address',
    description: 'Where the payouts of your miners go: any Bitcoin address of your own.',
    required: true,
    default: null,
    placeholder: 'bc1q...',
    patterns: [{ regex: '^[a-zA-Z0-9]+$', description: 'Letters and digits.' }],
  }),
  bootnodes: Value.text({
    name: 'Nodes to start from',
    description: 'Addresses of other nodes of the pool, separated by commas: /ip4/.../tcp/9171/p2p/...',
    required: false,
    default: null,
  }),
  'coinbase-tag': Value.text({
    name: 'Text in your blocks',
    description: 'At most 20 ASCII characters.',
    required: false,
    default: null,
    maxLength: 20,
  }),
})

export const configure = sdk.Action.withInput(
  'configure',
  async () => ({
    name: 'Settings',
    description: 'Payout address, nodes to start from, text in your blocks',
    warning: null,
    allowedStatuses: 'any',
    group: null,
    visibility: 'enabled',
  }),
  input,
  async ({ effects }) => settings.read().const(effects),
  async ({ effects, input }) => {
    await settings.merge(effects, utils.nullToUndefined(input))
  },
)
