// Lists what a source file imports, from the tokens of TypeScript's own scanner: comments, strings,
// templates and regular expressions cannot be mistaken for imports, as they would by a search for
// text. The scanner is an `unstable` export of the pinned typescript version; the tests of
// check-imports.mjs notice when an update changes it.
//
// Not seen: files named by `new URL(…, import.meta.url)`, for example the entry of a worker thread.

import { SyntaxKind } from 'typescript/unstable/ast';
import { createScanner } from 'typescript/unstable/ast/scanner';

// After one of these a slash divides; anywhere else it begins a regular expression.
const endsOperand = new Set([
  SyntaxKind.Identifier,
  SyntaxKind.PrivateIdentifier,
  SyntaxKind.StringLiteral,
  SyntaxKind.NumericLiteral,
  SyntaxKind.BigIntLiteral,
  SyntaxKind.NoSubstitutionTemplateLiteral,
  SyntaxKind.TemplateTail,
  SyntaxKind.RegularExpressionLiteral,
  SyntaxKind.CloseParenToken,
  SyntaxKind.CloseBracketToken,
  SyntaxKind.CloseBraceToken,
  SyntaxKind.PlusPlusToken,
  SyntaxKind.MinusMinusToken,
  SyntaxKind.ThisKeyword,
  SyntaxKind.SuperKeyword,
  SyntaxKind.NullKeyword,
  SyntaxKind.TrueKeyword,
  SyntaxKind.FalseKeyword,
]);

/**
 * @returns {{ specifier: string | undefined, line: number, kind: 'static' | 'type' | 'dynamic' }[]}
 * `specifier` is undefined for `import(expression)`. `type` is an import that is gone at run time;
 * `import { type A }` is not one, because the module is still loaded.
 * Throws when the text could not be told into tokens to its end.
 */
export function readImports(text, { hasJsx = false } = {}) {
  const tokens = tokenize(text, { hasJsx });
  const imports = [];
  for (let at = 0; at < tokens.length; at += 1) {
    const token = tokens[at];
    if (tokens[at - 1]?.kind === SyntaxKind.DotToken) continue; // a property of that name
    let found;
    if (token.kind === SyntaxKind.ImportKeyword) found = readImport(tokens, at);
    else if (token.kind === SyntaxKind.ExportKeyword) found = readReExport(tokens, at);
    if (found) imports.push({ ...found, line: lineOf(text, token.start) });
  }
  return imports;
}

function readImport(tokens, at) {
  const next = tokens[at + 1];
  if (next?.kind === SyntaxKind.StringLiteral) return { specifier: next.value, kind: 'static' };
  if (next?.kind === SyntaxKind.OpenParenToken) return readDynamicImport(tokens, at + 2);
  const isClause =
    next?.kind === SyntaxKind.OpenBraceToken ||
    next?.kind === SyntaxKind.AsteriskToken ||
    isName(next);
  return isClause ? readFrom(tokens, at + 1) : undefined; // else import.meta, or a property name
}

function readDynamicImport(tokens, at) {
  const argument = tokens[at];
  if (argument?.kind === SyntaxKind.CloseParenToken) return undefined; // a method named import
  const isText =
    argument?.kind === SyntaxKind.StringLiteral ||
    argument?.kind === SyntaxKind.NoSubstitutionTemplateLiteral;
  const isWhole = [SyntaxKind.CloseParenToken, SyntaxKind.CommaToken].includes(
    tokens[at + 1]?.kind,
  );
  return { specifier: isText && isWhole ? argument.value : undefined, kind: 'dynamic' };
}

function readReExport(tokens, at) {
  const isType = tokens[at + 1]?.kind === SyntaxKind.TypeKeyword;
  const first = tokens[at + (isType ? 2 : 1)];
  const canReExport =
    first?.kind === SyntaxKind.OpenBraceToken || first?.kind === SyntaxKind.AsteriskToken;
  return canReExport ? readFrom(tokens, at + 1) : undefined;
}

/** Reads `[type] … from '…'`, where … holds nothing but names, commas, braces and `*`. */
function readFrom(tokens, at) {
  const [first, second] = [tokens[at], tokens[at + 1]];
  // In `import type from 'x'` the word is the name of the import.
  const isType =
    first?.kind === SyntaxKind.TypeKeyword &&
    !(second?.kind === SyntaxKind.FromKeyword && tokens[at + 2]?.kind === SyntaxKind.StringLiteral);
  for (let index = at; index < tokens.length; index += 1) {
    const { kind } = tokens[index];
    const next = tokens[index + 1];
    if (kind === SyntaxKind.FromKeyword && next?.kind === SyntaxKind.StringLiteral) {
      return { specifier: next.value, kind: isType ? 'type' : 'static' };
    }
    const belongs =
      isName(tokens[index]) ||
      kind === SyntaxKind.OpenBraceToken ||
      kind === SyntaxKind.AsteriskToken ||
      kind === SyntaxKind.CommaToken ||
      kind === SyntaxKind.StringLiteral ||
      (kind === SyntaxKind.CloseBraceToken &&
        (next?.kind === SyntaxKind.FromKeyword || next?.kind === SyntaxKind.CommaToken));
    if (!belongs) return undefined;
  }
  return undefined;
}

function isName(token) {
  return token?.kind === SyntaxKind.Identifier || isKeyword(token?.kind);
}

function isKeyword(kind) {
  return kind >= SyntaxKind.FirstKeyword && kind <= SyntaxKind.LastKeyword;
}

function tokenize(text, { hasJsx }) {
  const scanner = createScanner(true, undefined, text);
  const tokens = [];
  // Which kind of brace each `}` closes: a template's `${` goes on as template text after it.
  const braces = [];
  let previous;
  for (;;) {
    let kind = scanner.scan();
    if (kind === SyntaxKind.EndOfFile) return tokens;
    const isSlash = kind === SyntaxKind.SlashToken || kind === SyntaxKind.SlashEqualsToken;
    if (isSlash && !endsOperand.has(previous)) {
      kind = scanner.reScanSlashToken();
    } else if (kind === SyntaxKind.OpenBraceToken || kind === SyntaxKind.TemplateHead) {
      braces.push(kind);
    } else if (kind === SyntaxKind.CloseBraceToken) {
      if (braces.at(-1) === SyntaxKind.TemplateHead) kind = scanner.reScanTemplateToken(false);
      if (kind !== SyntaxKind.TemplateMiddle) braces.pop();
    }
    // The text of JSX elements holds lone quotes; imports stand above it.
    if (scanner.isUnterminated() && !hasJsx) {
      throw new Error(
        `a text or template begun in line ${lineOf(text, scanner.getTokenStart())} has no end`,
      );
    }
    tokens.push({ kind, start: scanner.getTokenStart(), value: scanner.getTokenValue() });
    previous = kind;
  }
}

function lineOf(text, position) {
  let line = 1;
  for (let at = text.indexOf('\n'); at !== -1 && at < position; at = text.indexOf('\n', at + 1)) {
    line += 1;
  }
  return line;
}
