/**
 * The words of timelines: types of events, and reasons why a message has not been delivered, each with
 * what it means. The API's descriptions and the page of reasons are made from these tables. They do not
 * decide anything, and neither is closed: a provider of the plug-in folder has reasons of its own.
 */

export const EVENT_TYPES = {
  accepted: 'the notification was stored; the first event, unless it was scheduled',
  scheduled: 'the notification was stored, with a `sendAt` that lay ahead',
  routed:
    'the channel was chosen: `detail.route` has the order, `detail.left` what was left out and why',
  passed_over:
    'a channel was left out; `reason` says why, and `detail.missingVariables` what the data lacked if the text could not be made. The next one of the route follows at once',
  suppressed:
    'with `channel`: the user refuses that channel, `detail.rule` says by which preference; with `status`: the message ended so',
  attempt:
    'one attempt through a provider: its own result is `detail.outcome` (`sent`, `retry` or `rejected`), `status` is what the message is after it. `detail.missingVariables` names variables that the text has holes for, because the data lacks them (not those in conditions or with the filter `default`; at most 20)',
  waiting_for_provider:
    'the account is left alone after failures and the message waits for it, which is said once; `detail.until` is when it gives the channel up, `detail.nextChannel` what is tried then',
  failed: 'the message ended without an attempt that could have succeeded; `reason` says why',
  expired: 'the message ended at its `expiresAt`',
  cancelled: 'the message was cancelled',
  edited: 'the notification was changed; `detail.changes` says what',
  redriven: 'a dead letter was sent again',
  endpoint_disabled:
    'the attempt before it has switched the webhook endpoint off; `reason` is `gone` or `failing`',
} as const satisfies Record<string, string>;

interface ReasonGroup {
  title: string;
  reasons: Readonly<Record<string, string>>;
}

/** Grouped by where they come from; a name in two groups means the same in both. */
export const REASON_GROUPS = [
  {
    title: 'Before an attempt',
    reasons: {
      opted_out: 'the user refuses the channel or the category',
      no_content: 'the content or template has nothing for the channel',
      no_address: 'neither the request nor the profile has an address for the channel',
      bad_address: 'the address is none of that channel',
      unknown_channel: 'the channel does not exist (any more)',
      not_in_order: 'of a channel in `detail.left`: no order names it',
      unreachable: 'no channel was left on which the recipient could be reached',
      template_deleted:
        'the version of the template is not in the store: records.db is older than messages.db',
      invalid_content: 'the rendered content does not fit the channel',
      invalid_template: 'the template could not be rendered',
      invalid_data: 'the data does not fit the template',
      expired: '`expiresAt` had passed',
      waiting_for_provider:
        'no attempt yet: the account is at its limit, or left alone after failures',
      provider_down:
        'the account was left alone after failures: half a minute before the next channel of a route, for the last channel as long as all attempts would have taken (an hour at least)',
    },
  },
  {
    title: 'Inside the service',
    reasons: {
      provider_fault: 'the provider threw, or answered with what is no outcome',
      crashed: 'the process or the thread of the plug-in ended during the attempt',
      plug_in_not_started: 'the plug-in does not start',
      internal_error: 'a fault of Tidings itself',
      closed: 'the account was being closed; tried again',
      aborted: 'the attempt was broken off; tried again',
      store_unavailable: 'the inbox could not be written just now',
      store_full: 'the disk of the inbox is full',
      overloaded: 'the inbox had more to write than it can take just now',
      shutting_down: 'the service was being stopped; tried again',
      simulated_temporary_failure: 'a fixed address that stands for a temporary failure',
      simulated_permanent_failure: 'a fixed address that stands for a permanent failure',
    },
  },
  {
    title: 'Connections',
    reasons: {
      timeout: 'no answer in time',
      connection_refused: 'nothing listens there',
      connection_reset: 'the other side broke the connection',
      connection_lost: 'the connection ended before the answer',
      connection_limit: 'the attempt ended before a connection to that host was free',
      network_unreachable: 'there is no way to that network',
      network_failure: 'another error of the network',
      dns_failure: 'the host name was not found (webhook)',
      dns_failed: 'the host name was not found (email)',
      tls_failure: 'TLS failed, as with a certificate that is not trusted (webhook)',
      tls_failed: 'TLS failed, as with a certificate that is not trusted (email)',
      tls_unavailable: 'the mail server does not offer the TLS that is required',
      invalid_response: 'the answer is not HTTP',
      protocol_error: 'the answer is not SMTP, or the session was in the wrong state',
    },
  },
  {
    title: 'Webhooks',
    reasons: {
      'http_<status>':
        'the receiver answered with this status, such as `http_503`; `http_410` ends it and switches the endpoint off',
      endpoint_unknown: 'there is no such endpoint',
      endpoint_disabled: 'the endpoint is switched off',
      gone: 'of the event `endpoint_disabled`: the receiver answered 410',
      failing: 'of the event `endpoint_disabled`: it has failed for days without one success',
      address_not_allowed: 'the URL leads to an address that the operator does not allow',
    },
  },
  {
    title: 'Email: temporary',
    reasons: {
      greylisted: 'the server wants to see it again later',
      throttled: 'the server wants fewer messages',
      server_busy: 'the server takes nothing just now',
      temporary_failure: 'another answer that begins with 4',
      mailbox_full: 'the mailbox is full',
      authentication_unavailable: 'the server cannot check credentials just now',
    },
  },
  {
    title: 'Email: this recipient or this message',
    reasons: {
      unknown_mailbox: 'there is no such mailbox',
      unknown_domain: 'there is no such domain',
      domain_takes_no_mail: 'the domain takes no mail',
      invalid_address: 'the server does not take the address as one',
      address_refused: 'the server refuses the address',
      mailbox_moved: 'the mailbox is elsewhere now',
      mailbox_disabled: 'the mailbox is switched off',
      mailbox_unavailable: 'the mailbox does not exist or takes nothing',
      undeliverable: 'there is no way to the recipient',
      message_too_large: 'the message is larger than the server takes',
      message_refused: 'the server refuses the message',
      content_refused: 'the server refuses what the message holds',
      policy_refused: 'the server refuses it by its policy, as spam for example',
      invalid_reply_to: 'the `replyTo` of the content is no address',
      invalid_unsubscribe_url: 'the `unsubscribeUrl` of the content is none',
    },
  },
  {
    title: 'Email: for the operator to mend (tried again meanwhile)',
    reasons: {
      authentication_failed: 'user name or password are wrong',
      server_refused: 'the server refuses this client',
      sender_refused: 'the server refuses the sender address',
      sender_not_authenticated: 'SPF, DKIM, DMARC or reverse DNS of the sender are missing',
      relay_denied: 'the server does not relay for this account',
      protocol_refused: 'the server refuses a command',
    },
  },
] as const satisfies readonly ReasonGroup[];

const EVENTS_TEXT = Object.entries(EVENT_TYPES)
  .map(([name, meaning]) => `- \`${name}\`: ${meaning}.`)
  .join('\n');

const REASONS_TEXT = REASON_GROUPS.map(({ title, reasons }) => {
  const lines = Object.entries(reasons).map(([name, meaning]) => `- \`${name}\`: ${meaning}.`);
  return `${title}:\n\n${lines.join('\n')}`;
}).join('\n\n');

export const EVENT_TYPE_DESCRIPTION = `What happened. What the user does with an inbox item (seen, read, archived) is no event: the message has it as \`engagement\`. Providers may add types of two or more words.\n\n${EVENTS_TEXT}`;

export const REASON_DESCRIPTION = `Why. Providers may have further ones. The list is also the page \`/docs/reasons\`.\n\n${REASONS_TEXT}`;
