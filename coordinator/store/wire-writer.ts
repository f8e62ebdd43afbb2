/**
 * Protobuf on the wire, written forwards into one buffer that grows and is used again, unless it has grown large.
 *
 * Invariants
 * 1. What has the default value of its type (0, '') is not written, as in proto3.
 * 2. The length of a message takes two bytes while it is open; one that needs more is moved. A length below 128 keeps its two bytes, which every decoder takes.
 */

const START_BYTES = 64 * 1024;
/** A larger buffer is not kept: a history may take hundreds of megabytes, a commit or a slice of a checkpoint takes less than this. */
const KEPT_BYTES = 8 * 1024 * 1024;
/** The longest message whose length fits into the two bytes. */
const SHORT = 16_384;
/** Text up to this length is written letter by letter: a call into the runtime costs more. */
const LETTERS = 40;

export class WireWriter {
  #buffer = Buffer.allocUnsafeSlow(START_BYTES);
  #at = 0;

  /** Begins anew. */
  clear(): void {
    this.#at = 0;
    if (this.#buffer.length > KEPT_BYTES) this.#buffer = Buffer.allocUnsafeSlow(START_BYTES);
  }

  /** A copy of what was written. */
  bytes(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#buffer.subarray(0, this.#at));
  }

  /** Opens a message in a field; gives what `shut` needs. */
  open(field: number): number {
    this.#reserve(12);
    this.#varint(field * 8 + 2);
    this.#at += 2;
    return this.#at;
  }

  /** Ends the message that `open` began last. */
  shut(start: number): void {
    const length = this.#at - start;
    if (length < SHORT) {
      this.#buffer[start - 2] = (length & 0x7f) | 0x80;
      this.#buffer[start - 1] = length >>> 7;
      return;
    }
    const more = sizeOfVarint(length) - 2;
    this.#reserve(more);
    this.#buffer.copyWithin(start + more, start, this.#at);
    const end = this.#at + more;
    this.#at = start - 2;
    this.#varint(length);
    this.#at = end;
  }

  /** A whole number from 0 to 2^53. */
  number(field: number, value: number): void {
    if (value === 0) return;
    this.#reserve(20);
    this.#varint(field * 8);
    this.#varint(value);
  }

  /** Whole numbers, packed. */
  numbers(field: number, values: readonly number[]): void {
    if (values.length === 0) return;
    const list = this.open(field);
    this.#reserve(values.length * 10);
    for (const value of values) this.#varint(value);
    this.shut(list);
  }

  text(field: number, value: string): void {
    if (value === '') return;
    this.#reserve(value.length * 3 + 20);
    this.#varint(field * 8 + 2);
    const { length } = value;
    const buffer = this.#buffer;
    if (length <= LETTERS) {
      const start = this.#at + 1;
      let place = 0;
      for (; place < length; place++) {
        const code = value.charCodeAt(place);
        if (code > 0x7f) break;
        buffer[start + place] = code;
      }
      if (place === length) {
        buffer[this.#at] = length;
        this.#at = start + length;
        return;
      }
    }
    const bytes = Buffer.byteLength(value);
    this.#varint(bytes);
    buffer.write(value, this.#at);
    this.#at += bytes;
  }

  blob(field: number, value: Uint8Array): void {
    if (value.length === 0) return;
    this.#reserve(value.length + 20);
    this.#varint(field * 8 + 2);
    this.#varint(value.length);
    this.#buffer.set(value, this.#at);
    this.#at += value.length;
  }

  #varint(value: number): void {
    let rest = value;
    // Beyond 31 bits the operators for bits do not hold.
    while (rest >= 0x80000000) {
      this.#buffer[this.#at++] = (rest % 128) | 0x80;
      rest = Math.floor(rest / 128);
    }
    while (rest > 0x7f) {
      this.#buffer[this.#at++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    this.#buffer[this.#at++] = rest;
  }

  #reserve(bytes: number): void {
    const needed = this.#at + bytes;
    if (needed <= this.#buffer.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.#buffer.length * 2));
    this.#buffer.copy(grown, 0, 0, this.#at);
    this.#buffer = grown;
  }
}

function sizeOfVarint(value: number): number {
  let size = 1;
  for (let rest = value; rest > 0x7f; rest = Math.floor(rest / 128)) size += 1;
  return size;
}
