import { FileHelper, z } from '@start9labs/start-sdk'
import { sdk } from '../sdk'

const text = z.string().optional().catch(undefined)

/** The node's settings file, which it finds in its data directory. The keys are the names of its flags. */
export const settings = FileHelper.toml(
  { base: sdk.volumes.main, subpath: 'p2pool.toml' },
  z.object({
    address: text,
    bootnodes: text,
    'coinbase-tag': text,
  }),
)
