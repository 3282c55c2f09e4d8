/** One thing that was looked at. */
export type CheckStatus = 'ok' | 'warn' | 'fail';

export interface Check {
  name: string;
  status: CheckStatus;
  message: string;
  /** What to do about it. */
  advice?: string;
}

export type Report = (check: Check) => Promise<void>;
