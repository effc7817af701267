import * as util from 'util';

export type OneOrMany<T> = T | T[];

/** Always a list: [] for nothing, [x] for x. */
export function toList<T>(value: OneOrMany<T> | undefined): T[] {
  if (value === undefined) return [];
  return util.isArray(value) ? value : [value];
}

/** Whether every part is a list; Array.isArray, since util.isArray( is on its way out. */
export function areLists(...parts: unknown[]): boolean {
  return parts.every((part) => Array.isArray(part));
}

export const describe = (value: unknown): string => util.inspect(value, { depth: 2 });

export const HINT = 'Use Array.isArray(x), not util.isArray(x).';
