// The shim alone, against real Unix sockets that stand for the node process. Run: make shim
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, test } from "node:test";

import plugin from "../../plugin/openclaw/index.js";

const shimFolder = new URL("../../plugin/openclaw/", import.meta.url);
const folder = mkdtempSync(path.join(tmpdir(), "shim-"));
after(() => rmSync(folder, { recursive: true }));

const WHO = { agentId: "ceo", sessionKey: "agent:ceo:main", sessionId: "s1" };
const CONTEXT = { ...WHO, workspaceDir: "/home/ceo" };
let count = 0;
const freshPath = () => path.join(folder, `${++count}.sock`);

/** What the last registration wants to hear of. */
const hooks = {};

/** The tools that a gateway would get, by name. */
function register(pluginConfig, context = CONTEXT) {
  const tools = {};
  const on = (hook, handler) => (hooks[hook] = handler);
  plugin.register({ pluginConfig, on, registerTool: (make, { name }) => (tools[name] = make(context)) });
  return tools;
}

/** A node process: `serve(connection, request)` is called with each request. */
async function nodeProcess(t, serve) {
  const socket = freshPath();
  const server = net.createServer(async (connection) => {
    t.after(() => connection.destroy());
    connection.on("error", () => {});
    let text = "";
    for await (const chunk of connection.iterator({ destroyOnReturn: false })) {
      text += chunk;
      if (text.endsWith("\n")) break;
    }
    connection.resume(); // or the end of the connection would never be noticed
    if (text) serve(connection, JSON.parse(text));
  });
  server.listen(socket);
  await once(server, "listening");
  t.after(() => server.close());
  return { socket, server, tools: register({ socket }) };
}

const line = (value) => `${JSON.stringify(value)}\n`;
const textOf = (result) => result.content[0].text;

test("a call goes out as one line with who called, and the answer comes back as the result", async (t) => {
  const seen = [];
  const { tools } = await nodeProcess(t, (connection, request) => {
    seen.push(request);
    connection.end(line({ ok: true, text: "stored", data: { id: "m1" } }));
  });
  const result = await tools.nats_pub.execute("call-1", { to: "cto", message: "hello" });
  assert.deepEqual(seen, [{ v: 1, tool: "nats_pub", params: { to: "cto", message: "hello" }, ...WHO, workspace: "/home/ceo", callId: "call-1" }]);
  assert.deepEqual(result, { content: [{ type: "text", text: "stored" }], details: { ok: true, clawbus: { id: "m1" } } });
});

test("an answer with ok false is a graded failure, and not an exception", async (t) => {
  const { tools } = await nodeProcess(t, (connection) => connection.end(line({ ok: false, text: "backlog full" })));
  const result = await tools.nats_spawn.execute("c", {});
  assert.equal(textOf(result), "backlog full");
  assert.deepEqual(result.details, { ok: false, clawbus: {} });
});

test("a character whose bytes arrive in two chunks stays whole", async (t) => {
  const bytes = Buffer.from(line({ ok: true, text: "ein schönes ☃" }));
  const cut = bytes.indexOf(Buffer.from("☃")) + 1;
  let finish;
  const { tools } = await nodeProcess(t, (connection) => {
    connection.write(Buffer.concat([Buffer.from(line({ progress: "first" })), bytes.subarray(0, cut)]));
    finish = () => connection.end(bytes.subarray(cut));
  });
  // The progress proves that the first half was read before the second is sent.
  const result = await tools.nats_request.execute("c", {}, undefined, () => finish());
  assert.equal(textOf(result), "ein schönes ☃");
});

test("progress is forwarded in order, also when its display fails, and never after the answer", async (t) => {
  const { tools } = await nodeProcess(t, (connection) => {
    connection.end(["a", "b"].map((progress) => line({ progress })).join("") + line({ ok: true, text: "done" }) + line({ progress: "late" }));
  });
  const seen = [];
  const result = await tools.nats_request.execute("c", {}, undefined, (update) => {
    seen.push(textOf(update));
    throw new Error("the display is broken");
  });
  assert.equal(textOf(result), "done");
  assert.deepEqual(seen, ["a", "b"]);
});

test("an abort closes the connection and rejects as OpenClaw expects", async (t) => {
  const control = new AbortController();
  const closed = Promise.withResolvers();
  const { tools } = await nodeProcess(t, (connection) => {
    connection.on("close", closed.resolve);
    control.abort();
  });
  await assert.rejects(tools.nats_request.execute("c", {}, control.signal), { name: "AbortError" });
  await closed.promise;
});

test("a call that is aborted before it starts sends nothing", async (t) => {
  const seen = [];
  const { tools } = await nodeProcess(t, (connection, request) => {
    seen.push(request.callId);
    connection.end(line({ ok: true, text: "" }));
  });
  await assert.rejects(tools.nats_spawn.execute("aborted", {}, AbortSignal.abort()), { name: "AbortError" });
  await tools.nats_spawn.execute("next", {});
  assert.deepEqual(seen, ["next"]);
});

test("an abort after the answer changes nothing", async (t) => {
  const { tools } = await nodeProcess(t, (connection) => connection.end(line({ ok: true, text: "done" })));
  const control = new AbortController();
  const result = await tools.nats_org.execute("c", {}, control.signal);
  control.abort();
  assert.equal(textOf(result), "done");
});

test("without a node process the model reads what to tell the operator", async (t) => {
  const stale = freshPath(); // what a killed node leaves: a socket file that nobody listens on
  const { socket, server } = await nodeProcess(t, () => {});
  renameSync(socket, stale);
  server.close();
  for (const absent of [freshPath(), stale]) {
    const result = await register({ socket: absent }).nats_spawn.execute("c", {});
    assert.match(textOf(result), /^clawbus is not running for this gateway: nothing was sent\. Ask the operator to run: clawbus up \(or clawbus node --gateway ID\)$/);
    assert.deepEqual(result.details, { ok: false, clawbus: { reason: "not-running" } });
  }
});

test("a call made while the node process is restarted waits for it, and is made once", async (t) => {
  let calls = 0;
  const { socket, server, tools } = await nodeProcess(t, (connection) => {
    calls += 1;
    connection.end(line({ ok: true, text: "back" }));
  });
  await new Promise((resolve) => server.close(resolve)); // which removes the socket's file
  const call = tools.nats_org.execute("c", {});
  server.listen(socket);
  assert.equal(textOf(await call), "back");
  assert.equal(calls, 1);
});

test("a path that cannot be a socket is said, with the command that looks into it", async () => {
  for (const socket of [path.join(folder, "x".repeat(200)), "/dev/null", "/dev/null/x"]) {
    const result = await register({ socket }).nats_org.execute("c", {});
    assert.match(textOf(result), /^clawbus (cannot be reached|is not running).*nothing was sent.*Ask the operator to run: clawbus/);
    assert.equal(result.details.ok, false);
  }
});

test("a missing or unusable socket setting leaves tools that name the remedy", async () => {
  for (const config of [undefined, {}, { socket: "" }, { socket: 7 }, { socket: "relative.sock" }]) {
    const tools = register(config);
    assert.equal(Object.keys(tools).length, 6);
    const result = await tools.nats_inbox.execute("c", {});
    assert.match(textOf(result), /nothing was sent.*clawbus join$/);
    assert.equal(result.details.clawbus.reason, "not-configured");
  }
});

const UNKNOWN = /Whether the call was carried out is unknown: look with nats_tasks before you try again\.$/;
const BAD = {
  "closed without a word": (connection) => connection.end(),
  "closed after progress": (connection) => connection.end(line({ progress: "half way" })),
  "closed in the middle of a line": (connection) => connection.end('{"ok":true,"te'),
  killed: (connection) => connection.destroy(),
  "not JSON": (connection) => connection.write("hello\n"),
  "no answer and no progress": (connection) => connection.write(line({ ok: "yes", text: 1 })),
  null: (connection) => connection.write("null\n"),
  "a line of more than 2 MB": (connection) => connection.write(line({ ok: true, text: "x".repeat(2 * 1024 * 1024) })),
  "more than 2 MB without an end": (connection) => connection.write("x".repeat(2 * 1024 * 1024 + 1)),
};
for (const [name, serve] of Object.entries(BAD)) {
  test(`a node that fails in the middle (${name}) leaves the outcome unknown, and says how to look`, async (t) => {
    const { tools } = await nodeProcess(t, serve);
    const result = await tools.nats_spawn.execute("c", {});
    assert.match(textOf(result), UNKNOWN);
    assert.deepEqual(result.details, { ok: false, clawbus: { reason: "unknown-outcome" } });
  });
}

test("an answer of nearly 2 MB arrives whole", async (t) => {
  const text = "☃".repeat(690_000);
  const { tools } = await nodeProcess(t, (connection) => connection.end(line({ ok: true, text })));
  assert.equal(textOf(await tools.nats_tasks.execute("c", {})), text);
});

test("calls side by side do not mix, and several registrations share nothing", async (t) => {
  const { socket } = await nodeProcess(t, (connection, { callId }) => connection.end(line({ ok: true, text: callId })));
  const instances = [register({ socket }), register({ socket })];
  const ids = Array.from({ length: 20 }, (_, index) => `call-${index}`);
  const results = await Promise.all(ids.map((id, index) => instances[index % 2].nats_pub.execute(id, {})));
  assert.deepEqual(results.map(textOf), ids);
});

test("every tool of tools.json is registered as it stands there, visible without a search", () => {
  const listed = JSON.parse(readFileSync(new URL("tools.json", shimFolder)));
  const tools = register({ socket: "/nowhere" });
  assert.deepEqual(Object.keys(tools), listed.map(({ name }) => name));
  for (const { name, description, parameters } of listed) {
    assert.equal(tools[name].catalogMode, "direct-only");
    assert.equal(tools[name].description, description);
    assert.deepEqual(tools[name].parameters, parameters);
  }
});

test("the shim starts no process, reads no environment and needs no package", () => {
  const source = readFileSync(new URL("index.js", shimFolder), "utf8");
  assert.doesNotMatch(source, /child_process|process\.|readFile|fetch\(|require\(/);
  const imported = [...source.matchAll(/^import .* from "([^"]+)"/gm)].map((found) => found[1]);
  assert.deepEqual(imported, ["node:net", "./tools.json"]);
  assert.equal(JSON.parse(readFileSync(new URL("package.json", shimFolder))).dependencies, undefined);
});

const gate = (sessionKey, more = {}) => hooks.before_tool_call({ toolName: "exec", params: { command: "ls" } }, { sessionKey, ...more });

test("a turn of the bus asks before each tool call, and is refused in the node's words", async (t) => {
  const seen = [];
  await nodeProcess(t, (connection, request) => {
    seen.push(request);
    connection.end(line({ ok: request.sessionKey.endsWith("free"), text: "only: read", data: { bus: true } }));
  });
  assert.equal(await gate("agent:cto:nats:free"), undefined);
  assert.deepEqual(await gate("agent:cto:nats:bound"), { block: true, blockReason: "Not allowed in this turn: only: read" });
  assert.deepEqual(seen[0], { v: 1, hook: "before_tool_call", tool: "exec", sessionKey: "agent:cto:nats:free" });
});

test("a user's own session asks nobody, and one that was spawned does", async (t) => {
  const seen = [];
  await nodeProcess(t, (connection, { sessionKey }) => {
    seen.push(sessionKey);
    connection.end(line({ ok: true, text: "", data: { bus: false } }));
  });
  const spawned = ["agent:cto:subagent:1", "agent:cto:dashboard:1", "agent:cto:acp:1"];
  for (const key of ["agent:cto:main", "agent:cto:telegram:direct:7", "agent:nats:main", undefined, ...spawned]) {
    assert.equal(await gate(key), undefined);
  }
  assert.deepEqual(seen, spawned);
});

test("without a node nothing of the bus is called; what a user has spawned goes on", async (t) => {
  const { server } = await nodeProcess(t, (connection) => connection.end(line({ ok: true, text: "", data: { bus: true } })));
  assert.equal(await gate("agent:cto:subagent:of-the-bus"), undefined);
  server.close();
  t.mock.timers.enable({ apis: ["Date", "setTimeout"] });
  let decided = 0;
  const asked = ["agent:cto:nats:1", "agent:cto:subagent:of-the-bus"].map((key) => gate(key).finally(() => decided++));
  assert.equal(await gate("agent:cto:subagent:of-a-user"), undefined);
  for (let waited = 0; waited < 40_000 && decided < 2; waited += 100) {
    t.mock.timers.tick(100);
    await new Promise((resolve) => setImmediate(resolve));
  }
  for (const answer of await Promise.all(asked)) assert.match(answer.blockReason, /Not allowed in this turn: clawbus is not running/);
});

test("a plugin without a socket lets no turn of the bus call anything", async () => {
  register(undefined);
  assert.match((await gate("agent:cto:nats:1")).blockReason, /no socket configured/);
  assert.equal(await gate("agent:cto:main"), undefined);
});

test("an abort while the node is asked does not let the call through", async (t) => {
  const control = new AbortController();
  await nodeProcess(t, () => control.abort());
  await assert.rejects(gate("agent:cto:nats:1", { abortSignal: control.signal }), { name: "AbortError" });
});
