/**
 * Values with expressions in them: parameters, outputs, the idempotency key.
 *
 * Invariants
 * 1. A text that is one expression and nothing else keeps the type of its value; otherwise the value goes into the text: text as it is, the rest as JSON.
 * 2. A value without an expression is rendered once, when it is compiled.
 * 3. Rendering never throws, takes a bounded number of steps over all its expressions together, and makes at most `limits.parametersBytes`.
 */
import { limits } from '@workflow-orchestrator/proto/limits';
import { Budget } from '../budget.ts';
import type { ExpressionResult, Json, Payload, Scope, Template } from '../graph.ts';
import { type Node, toJson } from '../node.ts';
import { jsonPayload } from '../payload.ts';
import { offsetInside } from '../scalar-offset.ts';
import { compileExpression, type Expression, type ExpressionContext, type ExpressionPlace } from './expression.ts';
import { splitTemplate } from './template-text.ts';
import { JsonWriter, NoJson } from './value.ts';
import { type DeclaredInput, Variables } from './variables.ts';

/** Where a template stands. */
export type TemplatePlace = Omit<ExpressionPlace, 'node' | 'index'>;

/** The place of each text in a value. */
export type PlaceIn = (node: Node) => TemplatePlace;

/** A value with expressions in it, compiled. */
export type Part =
  | { readonly kind: 'fixed'; readonly value: Json }
  | { readonly kind: 'expression'; readonly expression: Expression }
  | { readonly kind: 'text'; readonly pieces: readonly (string | Expression)[] }
  | { readonly kind: 'list'; readonly items: readonly Part[] }
  | { readonly kind: 'map'; readonly entries: readonly (readonly [string, Part])[] };

/** Compiles a value; faults are told and leave null in their place. */
export function compileParts(context: ExpressionContext, node: Node, placeIn: PlaceIn): Part {
  switch (node.kind) {
    case 'broken':
      return { kind: 'fixed', value: null };
    case 'scalar':
      return typeof node.value === 'string' ? compileText(context, node as TextNode, placeIn(node)) : { kind: 'fixed', value: node.value };
    case 'list': {
      const items = node.items.map((item) => compileParts(context, item, placeIn));
      return items.every((item) => item.kind === 'fixed') ? { kind: 'fixed', value: toJson(node) } : { kind: 'list', items };
    }
    case 'map': {
      const entries: (readonly [string, Part])[] = [];
      for (const { name, at, value } of node.entries.values()) {
        if (name.includes('${{')) {
          const message = 'a key is fixed: no expression is evaluated in it';
          context.problems.addKey(node, name, at, 'template-not-allowed', message, 'make the map in an expression: ${{ {key: value} }}');
        }
        entries.push([name, compileParts(context, value, placeIn)]);
      }
      return entries.every(([, part]) => part.kind === 'fixed') ? { kind: 'fixed', value: toJson(node) } : { kind: 'map', entries };
    }
  }
}

type TextNode = Extract<Node, { kind: 'scalar' }> & { readonly value: string };

function compileText(context: ExpressionContext, node: TextNode, place: TemplatePlace): Part {
  const { value } = node;
  if (!value.includes('${{')) return { kind: 'fixed', value };
  const pieces = compilePieces(context, node, place);
  if (pieces === null) return { kind: 'fixed', value: null };
  const [only] = pieces;
  return pieces.length === 1 && typeof only !== 'string' ? { kind: 'expression', expression: only } : { kind: 'text', pieces };
}

function compilePieces(context: ExpressionContext, node: TextNode, place: TemplatePlace): (string | Expression)[] | null {
  const split = splitTemplate(node.value);
  if (split.kind === 'open') {
    tellOpen(context, node, split.index);
    return null;
  }
  const pieces = split.pieces.map((piece) =>
    piece.kind === 'literal' ? piece.text : compileExpression(context, piece.source, { ...place, node, index: piece.index }),
  );
  return pieces.includes(null) ? null : (pieces as (string | Expression)[]);
}

/** Tells a `${{` without its end. */
export function tellOpen({ problems }: ExpressionContext, node: TextNode, index: number): void {
  problems.addInside(
    node,
    offsetInside(problems.source, node, index),
    'template-syntax',
    'this ${{ is never closed',
    'end the expression with }}',
  );
}

/** The payload of a compiled value. `mapOnly`: what it is, when only a map will do. */
export function templateOf(part: Part, declared: readonly DeclaredInput[], mapOnly: string): Template {
  if (part.kind === 'fixed') return { kind: 'static', payload: jsonPayload(part.value) };
  const jobs = [...new Set(expressionsOf(part).flatMap((expression) => expression.jobs))];
  return {
    kind: 'dynamic',
    render: (scope) => {
      const rendered = renderParts(part, new Variables(scope, declared, jobs));
      if (rendered.kind === 'failure') return rendered;
      const { value } = rendered;
      if (typeof value !== 'object' || value === null || Array.isArray(value))
        return { kind: 'failure', message: `${mapOnly} must be a map` };
      return bounded(value, mapOnly);
    },
  };
}

function bounded(value: Json, what: string): ExpressionResult<Payload> {
  const payload = jsonPayload(value);
  if (payload.data.length <= limits.parametersBytes) return { kind: 'value', value: payload };
  const message = `${what} have ${payload.data.length} bytes, more than parametersBytes (${limits.parametersBytes})`;
  return { kind: 'failure', message };
}

/** The text of a compiled value, for the given scope. */
export function renderText(part: Part, scope: Scope, declared: readonly DeclaredInput[]): ExpressionResult<string> {
  const jobs = expressionsOf(part).flatMap((expression) => expression.jobs);
  const rendered = renderParts(part, new Variables(scope, declared, jobs));
  return rendered.kind === 'failure' ? rendered : { kind: 'value', value: textOf(rendered.value) };
}

/** All expressions in a compiled value. */
export function expressionsOf(part: Part): Expression[] {
  switch (part.kind) {
    case 'fixed':
      return [];
    case 'expression':
      return [part.expression];
    case 'text':
      return part.pieces.filter((piece) => typeof piece !== 'string');
    case 'list':
      return part.items.flatMap(expressionsOf);
    case 'map':
      return part.entries.flatMap(([, item]) => expressionsOf(item));
  }
}

/** Ends a rendering; never leaves this file. */
class Failed extends Error {}

function renderParts(part: Part, variables: Variables): ExpressionResult<Json> {
  const budget = new Budget(limits.expressionSteps);
  const writer = new JsonWriter(limits.parametersBytes);
  try {
    return { kind: 'value', value: render(part, variables, budget, writer, 0) };
  } catch (error) {
    return {
      kind: 'failure',
      message: error instanceof Failed ? error.message : `the value cannot be written: ${(error as Error).message}`,
    };
  }
}

function render(part: Part, variables: Variables, budget: Budget, writer: JsonWriter, depth: number): Json {
  switch (part.kind) {
    case 'fixed':
      return writer.write(part.value, depth);
    case 'expression':
      return evaluated(part.expression, variables, budget, writer, depth);
    case 'text': {
      const pieces = part.pieces.map((piece) => {
        if (typeof piece !== 'string') return textOf(evaluated(piece, variables, budget, writer, depth));
        writer.take(piece.length);
        return piece;
      });
      return pieces.join('');
    }
    case 'list':
      return part.items.map((item) => render(item, variables, budget, writer, depth + 1));
    case 'map':
      return Object.fromEntries(part.entries.map(([key, item]) => [key, render(item, variables, budget, writer, depth + 1)]));
  }
}

function evaluated({ source, evaluate }: Expression, variables: Variables, budget: Budget, writer: JsonWriter, depth: number): Json {
  const result = evaluate(variables, budget);
  if (result.kind === 'failure') throw new Failed(result.message);
  try {
    return writer.write(result.value, depth);
  } catch (error) {
    const why = error instanceof NoJson ? error.message : 'it cannot be read';
    throw new Failed(`'${source.slice(0, 80)}': the value cannot be used: ${why}`);
  }
}

/** A value as a piece of text. */
function textOf(value: Json): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}
