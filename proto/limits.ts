/**
 * Every limit of the system by name, with its unit. One file, read by coordinator, worker, client and tests.
 *
 * A limit is here because without it one caller could take memory, time or connections from all others; what a caller sends beyond one is refused
 * with an answer that says what was too much. The others are times and sizes that parts of the system keep to by themselves.
 */
export const limits = {
  // --- definitions -----------------------------------------------------------------------------------------------------
  /** YAML text of a definition. */
  definitionBytes: 1024 * 1024,
  /** Depth of nested maps and lists in a definition. */
  definitionDepth: 32,
  /** Nodes that YAML aliases may add. */
  definitionAliasNodes: 100,
  /** Jobs of a workflow. */
  jobs: 10_000,
  /** In-edges of one job. A fan-in of a thousand is a workload people have; the join itself costs one counter a job. */
  inEdges: 2_000,
  /** Edges of a whole definition: bounds what a graph costs to compile. */
  edges: 100_000,
  /** Characters of a name or id. */
  nameLength: 128,
  /** Characters of one expression. */
  expressionLength: 4_096,
  /** Nodes of one expression's syntax tree. */
  expressionNodes: 1_000,
  /** Steps of rendering one job's parameters, or one condition: about 100 ns each. */
  expressionSteps: 500_000,
  /** Characters of a regular expression. */
  patternLength: 1_000,
  /** Characters of all regular expressions of one definition. */
  patternsLength: 20_000,
  /** Keywords of one JSON Schema, without those that check nothing. Each takes about 0.1 ms to compile. */
  schemaNodes: 1_000,
  /** Steps of checking one value against a schema: about 30 ns each. */
  schemaSteps: 1_000_000,
  /** `retry.max_attempts`. */
  maxAttempts: 20,
  /** A job without `max_attempts` is offered again this often when its worker is lost. */
  lostWorkerRedeliveries: 3,
  /** Longest duration that a definition may name: 366 days. */
  durationMs: 366 * 24 * 3_600_000,
  /** `requires.labels` of a job, labels of a worker, labels of a workflow. */
  labels: 32,
  /** Characters of a label's key. */
  labelKeyLength: 63,
  /** Characters of a label's value. */
  labelValueLength: 255,
  /** Characters of an idempotency key, given with the request or computed by the definition. */
  idempotencyKeyLength: 255,

  // --- values ----------------------------------------------------------------------------------------------------------
  /** Rendered parameters of one job, inline. */
  parametersBytes: 256 * 1024,
  /** Output of one job, inline. */
  outputBytes: 256 * 1024,
  /** Parameters and inputs of one assignment together, names included, so that it fits into a frame. */
  assignmentBytes: 768 * 1024,
  /** Inputs of a workflow. */
  inputsBytes: 256 * 1024,
  /** A value in the journal; a larger one is kept apart, once, by its hash. */
  payloadInlineBytes: 64 * 1024,
  /** A stored checkpoint of a job. */
  checkpointBytes: 64 * 1024,
  /** Depth of a JSON value: what `JSON.parse` takes, `JSON.stringify` must be able to write. */
  jsonDepth: 64,
  /** An error's message; cut at the worker and again at the gateway. */
  errorMessageBytes: 4 * 1024,
  /** An error's stack; likewise. */
  errorStackBytes: 16 * 1024,
  /** An error's details; dropped when larger. */
  errorDetailsBytes: 64 * 1024,
  /** One log line; cut. */
  logLineBytes: 8 * 1024,
  /** Log of one attempt; later lines are dropped and counted. */
  logBytesPerAttempt: 1024 * 1024,
  /** Logs that a coordinator keeps in memory over all workflows; the oldest workflows' go first. */
  logBytesTotal: 64 * 1024 * 1024,

  // --- requests --------------------------------------------------------------------------------------------------------
  /** Body of a request. */
  requestBytes: 1024 * 1024,
  /** Body of a batch submit. */
  batchRequestBytes: 16 * 1024 * 1024,
  /** Deadline of a unary call that names none. */
  unaryDeadlineMs: 10_000,
  /** Longest deadline of a unary call. */
  unaryDeadlineMaxMs: 60_000,
  /** Requests of a batch submit. */
  batchRequests: 1_000,
  /** Messages, objects and lists in one request: a body of empty ones takes fifty times its size in memory. */
  requestNodes: 200_000,
  /** Bad fields of one request that an error lists. */
  fieldViolations: 100,
  /** Items of a page. */
  pageSize: 1_000,
  /** HTTP/2 streams of one connection at once. */
  http2Streams: 100,
  /** Watches and log streams open at once. */
  watches: 10_000,
  /** Messages that a slow watcher may be behind before its stream is ended (it resumes by sequence number). */
  watchBacklog: 10_000,
  /** Nesting of protobuf messages. */
  protobufDepth: 32,
  /** Time for the first bytes of a connection and for the headers of a request. */
  headersTimeoutMs: 10_000,

  // --- worker stream ---------------------------------------------------------------------------------------------------
  /** One WebSocket message. */
  frameBytes: 1024 * 1024,
  /** Entries (results, replies, beats, lines) of one frame. */
  frameEntries: 10_000,
  /** Time from the handshake to Hello. */
  helloTimeoutMs: 5_000,
  /** New worker connections per second. */
  handshakesPerSecond: 500,
  /** Connected workers. */
  workers: 10_000,
  /** Bytes waiting to go out on one connection, from which on nothing is dispatched to it. */
  outboundPauseBytes: 256 * 1024,
  /** Bytes waiting to go out on one connection, from which on it is dropped. */
  outboundDropBytes: 4 * 1024 * 1024,
  /** A connection whose buffer has not drained for this long is dropped. */
  outboundStallMs: 10_000,
  /** How often a worker sends Heartbeat. */
  heartbeatIntervalMs: 2_000,
  /** Silence after which a worker is suspect and is given nothing. */
  suspectMs: 5_000,
  /** Silence after which its leases are revoked. */
  leaseMs: 8_000,
  /** Time from a closed socket until the leases are revoked. */
  reconnectGraceMs: 2_000,
  /** Time for a worker to answer an assignment. */
  assignReplyMs: 2_000,
  /** Time for a running job to end after a cancel. */
  cancelGraceMs: 10_000,
  /** First and longest pause before a worker connects again. */
  reconnectMinMs: 100,
  reconnectMaxMs: 5_000,
  /** Slots that a worker may offer. */
  workerSlots: 10_000,
  /** Attempts that one worker may hold over a reconnect, running or with a result that waits. */
  workerInFlight: 100_000,
  /** Characters of a lease token. */
  leaseTokenLength: 256,
  /** Reasons and progress messages on the stream; cut. */
  reasonBytes: 1024,
  /** Bad frames of one session, from which on it is closed. */
  frameErrors: 100,
  /** Time for a worker's connection to be established, handshake included. */
  connectTimeoutMs: 5_000,
  /** Time from Hello to Welcome, after which a worker tries elsewhere. */
  welcomeTimeoutMs: 10_000,
  /** A result without an ack for this long is sent again on the same connection. */
  resultResendMs: 15_000,
  /** Results without an ack, from which on a worker asks for no more work. */
  workerResultsKept: 10_000,
  /** Bytes of results without an ack, likewise. */
  workerResultBytesKept: 64 * 1024 * 1024,
  /** Log lines that wait in a worker for the connection; later ones are dropped and counted. */
  workerLogBytes: 1024 * 1024,
  /** An alarm that fires later than this means that the process itself stood still; that time is nobody's silence. */
  stallToleranceMs: 500,
  /** Time for workers to move elsewhere after GoAway, before their connections are closed. */
  goAwayMs: 2_000,

  // --- shard -----------------------------------------------------------------------------------------------------------
  /** Events of one commit. */
  commitEvents: 1_000,
  /** Bytes of one commit. */
  commitBytes: 512 * 1024,
  /** Time for a commit, after which its outcome is unknown. */
  commitDeadlineMs: 2_000,
  /** How long a coordinator owns a shard without renewing its lease. */
  shardLeaseMs: 3_000,
  /** How often it does. */
  shardRenewMs: 750,
  /** Before the end of its lease, an owner tells nobody anything any more: the time that what it tells may be under way. */
  shardLeaseMarginMs: 1_000,
  /** Time for a call to a store that is not a commit. */
  storeCallMs: 10_000,
  /** Events after a checkpoint, from which on the next one begins. */
  checkpointEvents: 100_000,
  /** Bytes of events after a checkpoint, likewise. */
  checkpointEventBytes: 64 * 1024 * 1024,
  /** Time after a checkpoint, likewise, when anything happened in it. */
  checkpointMs: 300_000,
  /** Workflows, and bytes, that one slice of a checkpoint writes. */
  checkpointSliceWorkflows: 500,
  checkpointSliceBytes: 512 * 1024,
  /** How often the archive and the live view follow the journal. */
  projectionMs: 250,
  liveViewMs: 50,
  /** How long an open workflow waits for its archiving: together with `projectionMs`, less than a second. */
  projectionOpenMs: 600,
  /** How often a coordinator says that it is there, and how long that is believed. */
  presenceMs: 2_000,
  presenceTtlMs: 7_000,
  /** How long the live view shows a workflow after its last change, while it is open and after its end. */
  liveViewOpenTtlMs: 86_400_000,
  liveViewEndedTtlMs: 600_000,
  /** Time for Redis to answer a call of the live view, and a read that could be answered elsewhere. */
  liveViewCallMs: 1_000,
  liveViewReadMs: 250,
  /** Bytes of histories that the live view is given: of one workflow, of one open workflow a second, and of all a second. Beyond it a summary is shown. */
  liveViewWorkflowBytes: 256 * 1024,
  liveViewOpenBytesPerSecond: 64 * 1024,
  liveViewBytesPerSecond: 8 * 1024 * 1024,
  /** Failures in a row, from which on the live view is not asked for a while; the first such pause, and the longest. */
  liveViewFailures: 3,
  liveViewPauseMinMs: 500,
  liveViewPauseMaxMs: 15_000,
  /** Time for Redis to take a connection, and to answer a commit or a question of ownership. */
  redisConnectMs: 2_000,
  redisCommandMs: 1_500,
  /** Time for Redis to answer one step of a read, and what no acknowledgement waits for. */
  redisStepMs: 3_000,
  /** How long Redis without PostgreSQL keeps what has ended, where whoever opens the store names no time: the coordinator names `RETENTION_DAYS`. */
  redisRetentionMs: 7 * 24 * 3_600_000,
  /** Workflows, and bytes of their events, that are archived in one call. */
  projectionWorkflows: 500,
  projectionBytes: 1024 * 1024,
  /** Ended workflows that the archive has yet to take, from which on submits are refused. */
  unarchivedWorkflows: 100_000,
  /** How long the embedded archive keeps a workflow that has ended where nobody names a time (`RETENTION_DAYS` does), how many at most, and how often it looks. The oldest go first. */
  archivedMs: 30 * 86_400_000,
  archivedWorkflows: 1_000_000,
  archiveSweepMs: 60_000,
  /** Commands waiting for the shard, from which on submits are refused. */
  inboxCommands: 50_000,
  /** Bytes waiting for the shard, likewise. */
  inboxBytes: 32 * 1024 * 1024,
  /** Open workflows, from which on submits are refused. */
  openWorkflows: 1_000_000,
  /** Ended workflows that the memory tier keeps for reading. */
  endedWorkflowsKept: 25_000,
  /** Bytes of ended workflows that the memory tier keeps for reading. */
  endedWorkflowsBytes: 128 * 1024 * 1024,
  /** Definitions that are registered by name. */
  registeredDefinitions: 10_000,
  /** Jobs of all definitions that are kept compiled. Beyond it the least recently used ones are compiled again when needed, or forgotten if they were never registered. */
  compiledJobs: 200_000,
  /** Texts of definitions that are known without compiling them. */
  knownTexts: 10_000,

  // --- stock job types -------------------------------------------------------------------------------------------------
  /** The connections file, and each schema file that it names. */
  connectionsFileBytes: 1024 * 1024,
  /** Time for an expression, a schema check or another computation of a job that names none, and the most it may name. */
  computeMs: 10_000,
  computeMaxMs: 600_000,
  /** Heap of a process that computes for jobs, in MiB. One that needs more is ended, and the job fails. */
  computeMemoryMib: 128,
  /** Time for such a process to start. */
  computeStartMs: 30_000,
  /** Characters of an expression or template in a job's parameters. */
  jobExpressionLength: 64 * 1024,
  /** Violations of a schema that an error lists. */
  schemaViolations: 100,
  /** Time for an HTTP request of a job that names none, and the most it may name. */
  httpTimeoutMs: 30_000,
  httpTimeoutMaxMs: 600_000,
  /** Time for a connection to be made. */
  httpConnectMs: 10_000,
  /** Headers of a reply. */
  httpHeaderBytes: 32 * 1024,
  /** Body of a reply: fits into a job's output when it is text. */
  httpReplyBytes: 192 * 1024,
  /** Part of a refused reply that an error shows. */
  httpErrorBodyBytes: 4 * 1024,
  /** Redirects that are followed when a job names no number, and the most it may name. */
  httpRedirects: 5,
  httpRedirectsMax: 20,
  /** Time for an operation of a store that names none, and the most it may name. */
  storeTimeoutMs: 30_000,
  storeTimeoutMaxMs: 600_000,
  /** Characters of a store's key. */
  storeKeyLength: 512,
  /** Rows of one insert or upsert. */
  storeRows: 10_000,
  /** Idempotency keys that a file store looks back at: its latest lines. */
  storeKeysRemembered: 100_000,
  /** Things that one cleanup job removes. */
  cleanupItems: 1_000,
  /** Characters of a message to a channel. */
  channelMessageLength: 16 * 1024,
} as const;
