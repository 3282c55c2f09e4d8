/** What every part with a beginning and an end must do. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Service } from './lifecycle.ts';

export function runLifecycleConformance(name: string, make: () => Service): void {
  describe(`lifecycle: ${name}`, () => {
    it('stops without having been started', async () => {
      await make().stop();
    });

    it('stops twice, also at the same time', async () => {
      const service = make();
      await service.start();
      await Promise.all([service.stop(), service.stop()]);
      await service.stop();
    });

    it('starts and stops again and again, as new parts, without leaving anything behind', async () => {
      const before = process.getActiveResourcesInfo().length;
      for (let i = 0; i < 20; i++) {
        const service = make();
        await service.start();
        await service.stop();
      }
      await new Promise((resolve) => setImmediate(resolve));
      assert.ok(process.getActiveResourcesInfo().length <= before + 1);
    });
  });
}
