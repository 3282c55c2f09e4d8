/** Which lane a notification takes: what the request says, else its template, else medium. */
import type { Priority } from '@tidings/contracts/common';

export const DEFAULT_PRIORITY: Priority = 'medium';

export function decidePriority(
  requested: Priority | undefined,
  template: Priority | null | undefined,
): Priority {
  return requested ?? template ?? DEFAULT_PRIORITY;
}
