/** What can be known to be wrong with the settings before anything is started. */
import { resolveAccounts } from '../adapters/account.ts';
import { type Catalog, loadCatalog } from '../adapters/catalog.ts';
import { type Config, ConfigError } from '../config.ts';
import { variableOf } from '../settings.ts';

export interface ChannelAccount {
  channel: string;
  /** Id of the account that serves it; null where it is captured. */
  account: string | null;
}

/** @throws ConfigError that names the setting, the account's key or the file of a plug-in */
export async function checkAccounts(config: Config): Promise<ChannelAccount[]> {
  let catalog: Catalog;
  try {
    catalog = await loadCatalog(config.plugins);
  } catch (error) {
    throw new ConfigError('plugins', `cannot be loaded: ${(error as Error).message}`);
  }
  const accounts = resolveAccounts(config, catalog, process.env);
  const channels = catalog.channels();
  const unknown = config.delivery.defaultOrder.filter((channel) => !channels.includes(channel));
  if (unknown.length === 0) {
    return channels.map((channel) => ({
      channel,
      account: accounts.get(channel)?.[0]?.id ?? null,
    }));
  }
  throw new ConfigError(
    'delivery.defaultOrder',
    `names ${unknown.join(', ')}, but the channels are ${channels.join(', ')} (${variableOf('delivery.defaultOrder')})`,
  );
}
