/** Every setting of the service, for the help of `start`. */
import { flagOf, type SchemaNode, Settings, settingKeys, variableOf } from '../settings.ts';

export function settingsHelp(): string {
  const lines = [...settingKeys(Settings as unknown as SchemaNode)].map(([key, node]) => {
    const shown = node.default === undefined ? '' : ` (${JSON.stringify(node.default)})`;
    return `  ${flagOf(key)}, ${variableOf(key)}\n      ${node.description ?? ''}${shown}`;
  });
  return `\nSettings:\n${lines.join('\n')}`;
}
