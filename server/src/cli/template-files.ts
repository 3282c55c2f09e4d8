/** `tidings templates export` and `import`: templates as lines of a file. */
import type { Template } from '@tidings/contracts/template';
import type { Command } from 'commander';
import { bulk, concludeBulk } from './bulk.ts';
import { type Define, examples } from './define.ts';
import { EXIT } from './exit.ts';
import { openOutput } from './output-file.ts';
import { startProgress } from './progress.ts';
import { openRecords } from './record-file.ts';
import { counted } from './table.ts';
import { readTemplate, templateRecordOf, writeTemplate } from './template-transfer.ts';

export function addTemplateFiles(templates: Command, define: Define): void {
  const exporting = templates
    .command('export')
    .description('Write templates with all their versions, one per line (NDJSON).')
    .option('--out <file>', 'to this file instead of standard output')
    .addHelpText('after', examples('tidings templates export --out templates.ndjson'));
  define<{ out?: string }>(exporting, async (context, { options }) => {
    const api = context.api();
    await using output = await openOutput(context, options.out);
    const progress = startProgress(context.terminal, 'exporting templates');
    let count = 0;
    try {
      for await (const { items } of api.pages<Template>('/v1/templates')) {
        for (const template of items) {
          await output.write(`${JSON.stringify(await readTemplate(api, template))}\n`);
          progress.update(++count);
        }
      }
    } finally {
      progress.stop();
    }
    await output.finish();
    context.terminal.note(`${counted(count, 'template')} exported`);
    return EXIT.ok;
  });

  const importing = templates
    .command('import')
    .description(
      'Bring in templates that were exported; those that are there already are completed.',
    )
    .argument('<file>', 'NDJSON; "-" is standard input')
    .addHelpText('after', examples('tidings templates import templates.ndjson'));
  define(importing, async (context, { args: [file = ''] }) => {
    const api = context.api();
    const changes = { created: 0, changed: 0, unchanged: 0 };
    const result = await bulk(
      context,
      openRecords(file, 'ndjson', context.terminal.streams.stdin),
      {
        label: 'importing templates',
        // A template is several requests that build on each other; two at once gain little.
        concurrency: 1,
        async work(value) {
          changes[await writeTemplate(api, templateRecordOf(value))]++;
        },
      },
    );
    const { created, changed, unchanged } = changes;
    return concludeBulk(
      context,
      result,
      'template',
      ` (${created} created, ${changed} changed, ${unchanged} unchanged)`,
    );
  });
}
