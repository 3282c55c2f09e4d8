/** A failure whose message tells the person at the terminal what to do; shown without a stack. */
export class LaunchError extends Error {
  name = 'LaunchError';

  constructor(message, exitCode = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}
