/** The embedded engines' stores of one thread: its read connections and its way to the writer. */
import type { MessagePort } from 'node:worker_threads';
import type { Clock } from '../clock.ts';
import type { Config } from '../config.ts';
import { SqliteApplicationStore } from '../database/sqlite/application-store.ts';
import { SqliteEventStore } from '../database/sqlite/event-store.ts';
import { dataFiles, openMessages, openProjection, openRecords } from '../database/sqlite/files.ts';
import { SqliteInboxStore } from '../database/sqlite/inbox-store.ts';
import { MessageSearch, ThreadReading } from '../database/sqlite/message-search.ts';
import { SqliteNotificationStore } from '../database/sqlite/notification-store.ts';
import { ProjectionClient } from '../database/sqlite/projection-loop.ts';
import { RecordCacheGroup } from '../database/sqlite/record-cache.ts';
import { SqliteTemplateStore } from '../database/sqlite/template-store.ts';
import { SqliteUserStore } from '../database/sqlite/user-store.ts';
import { SqliteWebhookEndpointStore } from '../database/sqlite/webhook-endpoint-store.ts';
import { ThreadWriteClient } from '../database/sqlite/write-client.ts';
import type { SecretBox } from '../secret-box.ts';
import type { Ports } from './role.ts';

export function openStores(
  config: Config,
  {
    ports,
    clock,
    box,
    patient,
    staleMs,
  }: {
    ports: Ports;
    clock: Clock;
    box: SecretBox;
    /** Nobody waits for what this thread writes about messages: it may wait for others' commits. */
    patient: boolean;
    /** How long this thread may not see what another has changed in the records. */
    staleMs: number;
  },
) {
  const files = dataFiles(config.dataDir);
  const messages = openMessages(files);
  const records = openRecords(files);
  const projection = openProjection(files);
  const messagesWriter = new ThreadWriteClient(need(ports, 'messagesWriter'), { patient });
  const recordsWriter = new ThreadWriteClient(need(ports, 'recordsWriter'));
  const cache = new RecordCacheGroup(records, clock, staleMs);
  const tracker = new ProjectionClient({
    port: need(ports, 'projection'),
    messages,
    projection,
    clock,
  });
  const search = new MessageSearch(new ThreadReading(files, { clock }), tracker);
  const shared = { database: records, writer: recordsWriter, cache, clock, box };
  return {
    notifications: new SqliteNotificationStore({
      database: messages,
      writer: messagesWriter,
      search,
    }),
    events: new SqliteEventStore({ database: messages, writer: messagesWriter }),
    inbox: new SqliteInboxStore({
      messages,
      projection,
      writer: messagesWriter,
      caughtUp: tracker.caughtUp,
      damaged: (cause) => tracker.damaged(cause),
    }),
    applications: new SqliteApplicationStore(shared),
    templates: new SqliteTemplateStore(shared),
    users: new SqliteUserStore(shared),
    webhookEndpoints: new SqliteWebhookEndpointStore(shared),
    messagesWriter,
    recordsWriter,
    tracker,
    close() {
      messagesWriter.close();
      recordsWriter.close();
      tracker.close();
      search.close();
      for (const database of [messages, records, projection]) database.close();
    },
  };
}

export type Stores = ReturnType<typeof openStores>;

export function need(ports: Ports, name: keyof Ports): MessagePort {
  const port = ports[name];
  if (!port) throw new Error(`this role needs the connection ${name}`);
  return port;
}
