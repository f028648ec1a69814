// A node-opcua server for the bench: POINTS doubles, all rewritten once a second.
// node opcua_server.js POINTS FOLDER   prints {url}; ends with its standard input.
// Value of point i at tick t: t * 16384 + i. So whoever gets it can tell point and time of it.
"use strict";
const path = require("path");
const { OPCUAServer, OPCUACertificateManager, DataType, StatusCodes, Variant, SecurityPolicy, MessageSecurityMode } = require("node-opcua");

const NAMESPACE = "urn:minewatch:bench";
const FIRST_NODE = 1000;

async function main(points, folder) {
    const server = new OPCUAServer({
        hostname: "127.0.0.1",
        alternateHostname: [],
        host: "127.0.0.1",
        port: 0,
        securityPolicies: [SecurityPolicy.None],
        securityModes: [MessageSecurityMode.None],
        disableDiscovery: true,
        serverCertificateManager: new OPCUACertificateManager({ rootFolder: path.join(folder, "pki"), automaticallyAcceptUnknownCertificate: true }),
        userCertificateManager: new OPCUACertificateManager({ rootFolder: path.join(folder, "users"), automaticallyAcceptUnknownCertificate: true }),
        serverCapabilities: { maxMonitoredItems: 200000, maxMonitoredItemsPerSubscription: 100000, maxSessions: 10 },
    });
    await server.initialize();
    const space = server.engine.addressSpace;
    const namespace = space.registerNamespace(NAMESPACE);
    const variables = [];
    for (let i = 0; i < points; i++) {
        variables.push(
            namespace.addVariable({
                browseName: `p${i}`,
                nodeId: `i=${FIRST_NODE + i}`,
                dataType: DataType.Double,
                minimumSamplingInterval: 500,
                organizedBy: space.rootFolder.objects,
                value: { dataType: DataType.Double, value: i },
            })
        );
    }
    await server.start();
    console.log(JSON.stringify({ url: server.getEndpointUrl() }));
    let tick = 0;
    const begun = process.hrtime.bigint();
    const write = () => {
        tick += 1;
        const time = new Date();
        for (let i = 0; i < points; i++) {
            variables[i].setValueFromSource(new Variant({ dataType: DataType.Double, value: tick * 16384 + i }), StatusCodes.Good, time);
        }
        const nextMs = (tick + 1) * 1000 - Number((process.hrtime.bigint() - begun) / 1000000n);
        setTimeout(write, Math.max(nextMs, 0));
    };
    setTimeout(write, 1000);
    process.stdin.resume();
    process.stdin.on("end", () => process.exit(0));
    process.on("SIGTERM", () => process.exit(0));
}

main(Number(process.argv[2]), process.argv[3]);
