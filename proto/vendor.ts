/** Generated code of the vendored contracts: rules of fields, HTTP annotations, gRPC health and reflection. Only the coordinator's faces need it. */
export { field as fieldRules, oneof as oneofRules } from './gen/buf/validate/validate_pb.ts';
export { http } from './gen/google/api/annotations_pb.ts';
export * from './gen/google/api/http_pb.ts';
export * as health from './gen/grpc/health/v1/health_pb.ts';
export * as reflectionV1 from './gen/grpc/reflection/v1/reflection_pb.ts';
export * as reflectionV1alpha from './gen/grpc/reflection/v1alpha/reflection_pb.ts';
