/** The least a plug-in can be: no types, no schema library, one account, one function. */
export default {
  name: 'plain',
  title: 'Plain',
  documentation: 'https://example.com',
  configSchema: { type: 'object', properties: {}, additionalProperties: false },
  secrets: [],
  automatic: false,
  capabilities: { receipts: false, idempotency: true },
  limits: { concurrency: 10, ratePerSecond: null, timeoutMs: 1000 },
  create: ({ accountId }) => ({
    send: async ({ idempotencyKey }) => ({
      kind: 'sent',
      providerMessageId: `${accountId}/${idempotencyKey}`,
    }),
  }),
};
