/** Pages of lists. A token names its list and the last item, so that one of another list is told apart from a bad one. */
import { limits } from '@workflow-orchestrator/proto/limits';
import { badField } from './failures.ts';

/** How many items a page has. */
export function pageSize(requested: number, byDefault: number): number {
  return Math.min(requested === 0 ? byDefault : requested, limits.pageSize);
}

/** The token for the page after `last`. */
export function pageTokenOf(list: string, last: string): string {
  return Buffer.from(`${list}:${last}`).toString('base64url');
}

/** What a token names; empty for the first page. Throws ConnectError for a token of another list. */
export function readPageToken(list: string, token: string): string {
  if (token === '') return '';
  const text = Buffer.from(token, 'base64url').toString();
  if (!text.startsWith(`${list}:`)) throw badField('page_token', `'${token}' is not a token that a list of ${list} gave`);
  return text.slice(list.length + 1);
}

/** The place that a token of `list` names, from 0 on; 0 for the first page. Throws ConnectError for what is no place in it. */
export function readPagePlace(list: string, token: string): number {
  const text = readPageToken(list, token);
  if (text === '') return 0;
  if (!/^\d{1,9}$/.test(text)) throw badField('page_token', `'${token}' names no place in a list of ${list}`);
  return Number(text);
}
