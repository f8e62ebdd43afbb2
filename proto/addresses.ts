/**
 * Addresses of coordinators, as people write several of them: in one text, separated by commas.
 */

/** Every address once, in order, without surrounding space; a text may hold several. Empty when there is none. */
export function addressList(given: string | readonly string[]): string[] {
  const texts = typeof given === 'string' ? [given] : given;
  const addresses = texts.flatMap((text) => text.split(',')).map((address) => address.trim());
  return [...new Set(addresses.filter((address) => address !== ''))];
}
