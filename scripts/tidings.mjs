#!/usr/bin/env node
// The `tidings` command. It stays in the caller's folder, so that file arguments mean what they say.
import { join } from 'node:path';
import { launch, root } from './launch.mjs';

await launch([[join(root, 'server', 'src', 'main.ts'), ...process.argv.slice(2)]], { dev: false });
