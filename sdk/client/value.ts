/**
 * `google.protobuf.Value` of the contract as the JSON value that it stands for.
 */
import { type JsonValue, toJson } from '@bufbuild/protobuf';
import { type Value, ValueSchema } from '@bufbuild/protobuf/wkt';

/** The JSON value, for instance of `job.output`; null for one that is not there. */
export function jsonOf(value: Value | undefined): JsonValue {
  return value === undefined || value.kind.case === undefined ? null : toJson(ValueSchema, value);
}
