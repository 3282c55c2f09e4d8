/**
 * How much the fault tests do. The defaults are what a run of CI can afford on two cores; longer
 * runs set the variables. A seed makes a run that failed again, as far as real processes allow.
 */
function numberOf(variable: string, fallback: number): number {
  const text = process.env[variable];
  if (text === undefined) return fallback;
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1)
    throw new Error(`${variable} must be a whole number above 0`);
  return value;
}

export const SEED = numberOf('FAULTS_SEED', 1 + Math.floor(Math.random() * 1_000_000));
/** Moments at which the power is cut (F1). */
export const CUTS = numberOf('FAULTS_CUTS', 1000);
/** Ends by SIGKILL under load (F2); 300 bound what may go wrong unseen to 1% a kill. */
export const KILLS = numberOf('FAULTS_KILLS', 15);
/** Ends by SIGKILL at failpoints (F3). */
export const FAILPOINT_KILLS = numberOf('FAULTS_FAILPOINT_KILLS', 50);
/** What an overloaded receiver asks for (F20), in seconds. */
export const RETRY_AFTER_S = numberOf('FAULTS_RETRY_AFTER_S', 3);
/** Ends by SIGKILL within migrations (F28). */
export const MIGRATION_KILLS = numberOf('FAULTS_MIGRATION_KILLS', 20);
