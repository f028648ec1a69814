// An OPC UA server that is not ours (node-opcua), for tests: what its variables hold follows from the node and the time.
//
//   node server.mjs PORT PKI_FOLDER URI[,URI…]
//
// The namespaces are registered in the order of the URIs. Each holds the same identifiers, half of them numbers and half
// texts; variable j of namespace URI has the key j, or j + 32 where the URI ends in "pump", and holds key + STEP × n,
// where n counts tenths of a second since 1970 (modulo what fits) and STEP is 64 for one-byte types, else 1000. So each
// value says whose it is. Booleans are true where j is odd. "text" never changes.
// At most 40 nodes may be read at once, and 25 subscribed to.
// Prints "ready" when the port is open. Lines on stdin: "count" (prints sessions and subscriptions), "quiet"
// (nothing changes any more), "loud" (as before). It shuts down when stdin ends.
import { createRequire } from "node:module";
import readline from "node:readline";

for (const noise of ["debug", "error", "info", "log", "warn"]) console[noise] = () => {}; // node-opcua talks on stdout
const say = (line) => process.stdout.write(`${line}\n`);

const {
  DataType, MessageSecurityMode, OPCUACertificateManager, OPCUAServer, SecurityPolicy, StatusCodes, Variant,
  VariantArrayType,
} = createRequire(import.meta.url)("node-opcua"); // half a second faster than to import it

const TYPES = [
  "Double", "Double", "Double", "Double", "Double", "Double", "Double", "Double", "Float", "Float", "Float", "Float",
  "Int16", "Int16", "UInt16", "UInt16", "Int32", "Int32", "UInt32", "UInt32", "Int64", "Int64", "UInt64", "UInt64",
  "SByte", "SByte", "Byte", "Byte", "Boolean", "Boolean",
];
const ROUNDS = { SByte: 2, Byte: 4, Int16: 30, UInt16: 60, Float: 10000 };

const [port, pki, uris] = [Number(process.argv[2]), process.argv[3], process.argv[4].split(",")];
let quiet = false;

function held(type, key, n) {
  if (type === "Boolean") return key % 2 === 1;
  const step = type === "SByte" || type === "Byte" ? 64 : 1000;
  const value = key + step * (n % (ROUNDS[type] ?? 100000)) - (type === "SByte" ? 64 : 0);
  return type === "Int64" || type === "UInt64" ? [0, value] : value; // node-opcua writes 64 bits as [high, low]
}

function variant(type, value) {
  return new Variant({ dataType: DataType[type], arrayType: VariantArrayType.Scalar, value });
}

function addVariables(server, uri) {
  const namespace = server.engine.addressSpace.getNamespace(uri);
  const folder = namespace.addFolder("ObjectsFolder", { browseName: uri, nodeId: "s=all" });
  const add = (id, type, value) =>
    namespace.addVariable({
      componentOf: folder, browseName: `${type} ${id}`, nodeId: id, dataType: type, minimumSamplingInterval: 50,
      value: variant(type, value),
    });
  add("s=text", "String", "not a number");
  return TYPES.map((type, j) => {
    const key = j + (uri.endsWith("pump") ? 32 : 0);
    return [add(j % 2 ? `s=${type}.${j}` : `i=${5000 + j}`, type, held(type, key, 0)), type, key];
  });
}

async function main() {
  const server = new OPCUAServer({
    port,
    nodeset_filename: ["node_modules/node-opcua-address-space/nodesets/mini.Nodeset2.xml"], // the whole takes a second
    resourcePath: "/mine",
    serverCertificateManager: new OPCUACertificateManager({ rootFolder: pki, automaticallyAcceptUnknownCertificate: true }),
    securityPolicies: [SecurityPolicy.None, SecurityPolicy.Basic256Sha256],
    securityModes: [MessageSecurityMode.None, MessageSecurityMode.SignAndEncrypt],
    serverCapabilities: { maxSessions: 10, operationLimits: { maxNodesPerRead: 40, maxMonitoredItemsPerCall: 25 } },
    buildInfo: { productName: "a peer for tests" },
  });
  await server.initialize();
  for (const uri of uris) server.engine.addressSpace.registerNamespace(uri);
  const variables = uris.flatMap((uri) => addVariables(server, uri));
  const change = () => {
    const now = new Date();
    const n = Math.floor(now.getTime() / 100);
    for (const [variable, type, key] of quiet ? [] : variables)
      variable.setValueFromSource(variant(type, held(type, key, n)), StatusCodes.Good, now);
  };
  change();
  await server.start();
  setInterval(change, 100);
  say("ready");
  const lines = readline.createInterface({ input: process.stdin });
  lines.on("line", (line) => {
    if (line !== "count") quiet = line === "quiet";
    const { currentSessionCount, currentSubscriptionCount } = server.engine;
    say(JSON.stringify({ sessions: currentSessionCount, subscriptions: currentSubscriptionCount }));
  });
  lines.on("close", () => server.shutdown(0).then(() => process.exit(0)));
}

main();
