/**
 * Named places where a fault test can stop the process dead (SIGKILL), as etcd and the BSDs
 * have them. Off, a failpoint is one comparison with a constant.
 *
 * `TIDINGS_FAILPOINTS="before-commit=3"` kills the process when the place is reached the
 * third time. Only fault tests set it; the start prints a warning.
 */

export const FAILPOINTS = [
  'before-commit',
  'after-commit',
  'before-202',
  'after-claim',
  'after-provider',
  'in-migration',
] as const;
export type Failpoint = (typeof FAILPOINTS)[number];

const setting = process.env['TIDINGS_FAILPOINTS'];
const remaining = new Map<string, number>(
  (setting ? setting.split(',') : []).map((entry) => {
    const [name, count] = entry.split('=');
    return [name ?? '', Number(count ?? 1)];
  }),
);
const armed = remaining.size > 0;

export function failpoint(name: Failpoint): void {
  if (armed) reach(name);
}

function reach(name: Failpoint): void {
  const left = remaining.get(name);
  if (left === undefined) return;
  if (left <= 1) process.kill(process.pid, 'SIGKILL');
  else remaining.set(name, left - 1);
}
