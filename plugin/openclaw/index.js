/**
 * clawbus for OpenClaw: registers the tools of tools.json and forwards each call to the clawbus node of this
 * gateway, over the Unix socket that the plugin's configuration names. Nothing is decided here.
 *
 * One connection per call. Request, one line of JSON: {v, tool, params, agentId, sessionKey, sessionId, workspace, callId}.
 * Answer, lines of JSON: any number of {progress}, then one {ok, text, data}. Closing the connection is the abort.
 *
 * Before each tool call of a turn that came over the bus, or that such a turn has spawned, the node is asked whether it
 * may be made: {v, hook, tool, sessionKey}. Where the node cannot be asked, such a call is not made.
 *
 * OpenClaw calls register() several times, in separate module instances: this file holds no socket and no state, but for
 * the sessions that the node has named as the bus's.
 */
import net from "node:net";
import tools from "./tools.json" with { type: "json" };

const MAX_LINE_BYTES = 2 * 1024 * 1024;
const NEWLINE = 10;
const PATIENCE_MS = 3000;
const AGAIN_MS = 100;
const GATE_PATIENCE_MS = 30_000; // a node that was killed is back in a few seconds
const GATE_MS = 60_000;
const SPAWNED = /^agent:[^:]+:(?:subagent|dashboard|acp):/;
const FROM_BUS = /^agent:[^:]+:nats:/;
const ofBus = (globalThis[Symbol.for("clawbus.ofBus")] ??= new Set());
const OPERATOR = "Ask the operator to run";

/** What OpenClaw calls `details`: `ok` grades the call, all else stays under one key. */
const outputSchema = {
  type: "object",
  properties: { ok: { type: "boolean" }, clawbus: { type: "object" } },
  required: ["ok", "clawbus"],
  additionalProperties: false,
};

const result = (ok, text, data) => ({ content: [{ type: "text", text }], details: { ok, clawbus: data ?? {} } });
const failure = (reason, text) => result(false, text, { reason });

const notConfigured = () =>
  failure("not-configured", `clawbus has no socket configured in this gateway: nothing was sent. ${OPERATOR}: clawbus join`);

function notRunning(error) {
  if (error.code === "ENOENT" || error.code === "ECONNREFUSED") {
    return failure("not-running", "clawbus is not running for this gateway: nothing was sent. " +
      `${OPERATOR}: clawbus up (or clawbus node --gateway ID)`);
  }
  return failure("unreachable", `clawbus cannot be reached (${error.code ?? error.message}): nothing was sent. ${OPERATOR}: clawbus doctor`);
}

const unknownOutcome = (what) =>
  failure("unknown-outcome", `${what}. Whether the call was carried out is unknown: look with nats_tasks before you try again.`);

function aborted() {
  const error = new Error("Aborted");
  error.name = "AbortError";
  return error;
}

/** Calls `onLine` with each whole line. Bytes are joined before they are decoded: a character may arrive in two parts. */
function lineReader(onLine) {
  let parts = [];
  let size = 0;
  return (chunk) => {
    let from = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, from)) {
      const line = Buffer.concat([...parts, chunk.subarray(from, end)]);
      [parts, size, from] = [[], 0, end + 1];
      if (line.length > MAX_LINE_BYTES) return false;
      onLine(line.toString("utf8"));
    }
    parts.push(chunk.subarray(from));
    size += chunk.length - from;
    return size <= MAX_LINE_BYTES;
  };
}

/** Progress is for show: a display that fails must not end the call. */
function show(onUpdate, text) {
  try {
    onUpdate?.({ content: [{ type: "text", text }], details: {} });
  } catch {}
}

/** One call over the node's socket. Resolves to a tool result, also when it failed; rejects only when aborted. */
function forward(path, request, signal, onUpdate) {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(aborted());
    const socket = net.createConnection({ path });
    let connected = false;
    let settled = false;
    const settle = (finish, value) => {
      settled = true;
      signal?.removeEventListener("abort", onAbort);
      socket.destroy();
      finish(value);
    };
    const onAbort = () => settle(reject, aborted());
    const onLine = (line) => {
      if (settled) return; // what follows the answer is nobody's
      const answer = JSON.parse(line);
      if (typeof answer?.ok === "boolean" && typeof answer.text === "string") {
        settle(resolve, result(answer.ok, answer.text, answer.data));
      } else if (typeof answer?.progress === "string") {
        show(onUpdate, answer.progress);
      } else throw new SyntaxError("neither an answer nor progress");
    };
    const read = lineReader(onLine);
    signal?.addEventListener("abort", onAbort, { once: true });
    socket.on("connect", () => {
      connected = true;
      socket.write(`${JSON.stringify(request)}\n`);
    });
    socket.on("data", (chunk) => {
      try {
        if (!read(chunk)) settle(resolve, unknownOutcome("clawbus answered with a line of more than 2 MB"));
      } catch (error) {
        settle(resolve, unknownOutcome(`clawbus answered with something unreadable (${error.message})`));
      }
    });
    socket.on("error", (error) => settle(resolve, connected ? unknownOutcome("The connection to clawbus broke") : notRunning(error)));
    socket.on("close", () => settle(resolve, unknownOutcome("The connection to clawbus was closed before the answer")));
  });
}

/** A node that is restarted is back in a moment; nothing of the call was sent meanwhile, so it may be made again. */
async function forwardPatiently(path, request, signal, onUpdate, patienceMs = PATIENCE_MS) {
  for (const until = Date.now() + patienceMs; ; ) {
    const answer = await forward(path, request, signal, onUpdate);
    if (answer.details.clawbus.reason !== "not-running" || Date.now() >= until) return answer;
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  }
}

/** OpenClaw's before_tool_call: undefined lets the call go on. What throws or takes too long blocks it. */
async function gate(path, tool, { sessionKey = "", abortSignal }) {
  const known = FROM_BUS.test(sessionKey) || ofBus.has(sessionKey);
  if (!known && !SPAWNED.test(sessionKey)) return undefined;
  const request = { v: 1, hook: "before_tool_call", tool, sessionKey };
  const answer = path ? await forwardPatiently(path, request, abortSignal, undefined, known ? GATE_PATIENCE_MS : 0) : notConfigured();
  const { ok, clawbus } = answer.details;
  if (clawbus.bus) ofBus.add(sessionKey);
  if (ok || !(known || clawbus.bus)) return undefined;
  return { block: true, blockReason: `Not allowed in this turn: ${answer.content[0].text}` };
}

export default {
  id: "clawbus",
  name: "clawbus",
  description: "Agents of other gateways, over NATS JetStream",
  register(api) {
    const path = api.pluginConfig?.socket;
    const usable = typeof path === "string" && path.startsWith("/");
    api.on("before_tool_call", ({ toolName }, context) => gate(usable && path, toolName, context), { timeoutMs: GATE_MS });
    for (const { name, description, parameters } of tools) {
      const tool = ({ agentId, sessionKey, sessionId, workspaceDir } = {}) => ({
        name, label: name, description, parameters, outputSchema,
        catalogMode: "direct-only", // the model sees it directly, not behind the tool search
        async execute(callId, params, signal, onUpdate) {
          if (!usable) return notConfigured();
          const caller = { agentId, sessionKey, sessionId, workspace: workspaceDir };
          return forwardPatiently(path, { v: 1, tool: name, params, ...caller, callId }, signal, onUpdate);
        },
      });
      api.registerTool(tool, { name });
    }
  },
};
