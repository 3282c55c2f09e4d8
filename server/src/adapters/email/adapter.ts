/** The email channel: addresses, content and limits. How a mail leaves is a matter of its providers. */
import { defineAdapter } from '../adapter.ts';
import { maskEmailAddress, parseEmailAddress } from './address.ts';
import { EmailContent, validateEmailContent } from './content.ts';
import { emailFromContent } from './neutral-content.ts';

export default defineAdapter({
  channel: 'email',
  title: 'Email',
  contentSchema: EmailContent,
  htmlFields: ['html'],
  parseAddress: parseEmailAddress,
  maskAddress: maskEmailAddress,
  defaultAddress: 'none',
  needs: 'a title or a subject',
  fromContent: emailFromContent,
  validate: validateEmailContent,
  // RFC 2606 reserves `.invalid`: nothing can ever be delivered there.
  simulated: {
    delivered: 'delivered@simulate.invalid',
    temporaryFailure: 'temporary-failure@simulate.invalid',
    permanentFailure: 'permanent-failure@simulate.invalid',
  },
});
