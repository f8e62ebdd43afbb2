/** A program that submits the workflow beside it, waits for its end and prints what came out. */
import { WorkflowClient, workflowStatusName } from '@workflow-orchestrator/sdk';

const client = new WorkflowClient(process.env.COORDINATOR_URL, { token: process.env.WORKFLOW_TOKEN });
const { id } = await client.submitAndStartWorkflow({ file: `${import.meta.dirname}/greeting.yaml` });
const workflow = await client.waitFor(id, { timeoutMs: 60_000 });
console.log(workflowStatusName(workflow.status), workflow.outputs);
