/**
 * The contracts, generated from `workflow/v1/*.proto`, in one import.
 *
 * Everything under `gen/` is made by `npm run generate` and never edited by hand.
 */
export * from './addresses.ts';
export * from './gen/workflow/v1/definition_pb.ts';
export * from './gen/workflow/v1/definition_service_pb.ts';
export * from './gen/workflow/v1/error_pb.ts';
export * from './gen/workflow/v1/event_pb.ts';
export * from './gen/workflow/v1/journal_pb.ts';
export * from './gen/workflow/v1/payload_pb.ts';
export * from './gen/workflow/v1/system_service_pb.ts';
export * from './gen/workflow/v1/worker_pb.ts';
export * from './gen/workflow/v1/worker_service_pb.ts';
export * from './gen/workflow/v1/workflow_pb.ts';
export * from './gen/workflow/v1/workflow_service_pb.ts';
export * from './stream.ts';
