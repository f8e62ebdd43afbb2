/** What the contracts say about themselves: full name of a message, field, enum, value, service or method -> its comment. Read by the OpenAPI document. */
import text from './gen/comments.json' with { type: 'json' };

/** Comments by full protobuf name, such as `workflow.v1.Workflow.status`. Names without a comment are left out. */
export const comments: Readonly<Record<string, string>> = text;
