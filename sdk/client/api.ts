/**
 * The services of a coordinator at one address.
 */
import { type Client, createClient, type Transport } from '@connectrpc/connect';
import { DefinitionService, SystemService, WorkerService, WorkflowService } from '@workflow-orchestrator/proto';

/** Where calls can be sent. */
export interface Api {
  /** As `httpAddress` writes it. */
  readonly address: string;
  readonly workflows: Client<typeof WorkflowService>;
  readonly definitions: Client<typeof DefinitionService>;
  readonly workers: Client<typeof WorkerService>;
  readonly system: Client<typeof SystemService>;
}

/** The services behind a transport. */
export function createApi(address: string, transport: Transport): Api {
  return {
    address,
    workflows: createClient(WorkflowService, transport),
    definitions: createClient(DefinitionService, transport),
    workers: createClient(WorkerService, transport),
    system: createClient(SystemService, transport),
  };
}
