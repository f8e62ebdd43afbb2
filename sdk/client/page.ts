/**
 * Pages of a list, as one sequence.
 */

/** One page. */
export interface Page<T> {
  readonly items: T[];
  /** For the next page; empty at the end. */
  readonly nextPageToken: string;
}

/** Every item, reading the next page when it is needed. */
export async function* eachItem<T>(read: (pageToken: string) => Promise<Page<T>>): AsyncGenerator<T, void, undefined> {
  let pageToken = '';
  do {
    const page = await read(pageToken);
    yield* page.items;
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
}
