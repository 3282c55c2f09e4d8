/**
 * How many requests to one host and port may be under way; the others wait in their order.
 *
 * An agent's `maxSockets` does not hold this: it counts connections only once they are open, and
 * ours take their time to be judged, so a burst would open one for each request.
 */

export interface HostLimit {
  /** Calls `granted` when there is room, at once if there is. Returns how to give the place up, waiting or held. */
  take(host: string, granted: () => void): () => void;
}

interface Host {
  held: number;
  waiting: Set<() => void>;
}

export function createHostLimit(max: number): HostLimit {
  const hosts = new Map<string, Host>();
  return {
    take(name, granted) {
      const host = hosts.get(name) ?? { held: 0, waiting: new Set() };
      hosts.set(name, host);
      let held = false;
      const enter = (): void => {
        held = true;
        host.held++;
        granted();
      };
      if (host.held < max) enter();
      else host.waiting.add(enter);
      return () => {
        host.waiting.delete(enter);
        if (!held) return;
        held = false;
        host.held--;
        const [next] = host.waiting;
        if (next === undefined) {
          if (host.held === 0) hosts.delete(name);
          return;
        }
        host.waiting.delete(next);
        next();
      };
    },
  };
}
