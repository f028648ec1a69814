// node-opcua as its documentation uses it: one subscription, monitored items in groups of 1,000.
// node opcua_client.js URL POINTS WARM_S WINDOW_S FOLDER   prints one JSON object; values are checked after the window.
"use strict";
const path = require("path");
const { OPCUAClient, OPCUACertificateManager, ClientSubscription, ClientMonitoredItemGroup, AttributeIds, TimestampsToReturn } = require("node-opcua");

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

async function main(url, points, warmS, windowS, folder) {
    const client = OPCUAClient.create({
        endpointMustExist: false,
        clientCertificateManager: new OPCUACertificateManager({ rootFolder: path.join(folder, "pki") }),
    });
    await client.connect(url);
    const session = await client.createSession();
    const index = (await session.readNamespaceArray()).indexOf("urn:minewatch:bench");
    const subscription = ClientSubscription.create(session, {
        requestedPublishingInterval: 500,
        requestedLifetimeCount: 1000,
        requestedMaxKeepAliveCount: 10,
        maxNotificationsPerPublish: 0,
        publishingEnabled: true,
        priority: 1,
    });
    let rows = [];
    for (let first = 0; first < points; first += 1000) {
        const items = [];
        for (let i = first; i < Math.min(first + 1000, points); i++) {
            items.push({ nodeId: `ns=${index};i=${1000 + i}`, attributeId: AttributeIds.Value });
        }
        const group = ClientMonitoredItemGroup.create(subscription, items, { samplingInterval: 250, discardOldest: true, queueSize: 100 }, TimestampsToReturn.Both);
        group.on("changed", (item, dataValue, at) => rows.push([first + at, dataValue.value.value, dataValue.statusCode.value, dataValue.sourceTimestamp]));
    }
    await sleep(warmS * 1000);
    rows = [];
    const begun = process.hrtime.bigint();
    const before = process.cpuUsage();
    await sleep(windowS * 1000);
    const used = process.cpuUsage(before);
    const wallS = Number(process.hrtime.bigint() - begun) / 1e9;
    const taken = rows;
    rows = [];
    console.log(JSON.stringify({ ...judged(taken, points), cpu_s: (used.user + used.system) / 1e6, wall_s: wallS }));
    process.exit(0);
}

// Values missing between the first and the last tick, but for those two; see lost_ticks of client_ours.py.
function judged(rows, points) {
    let wrong = 0;
    let bad = 0;
    const seen = new Map();
    for (const [i, value, status] of rows) {
        if (status !== 0) bad += 1;
        if (value % 16384 !== i) wrong += 1;
        const tick = Math.floor(value / 16384);
        if (!seen.has(tick)) seen.set(tick, new Set());
        seen.get(tick).add(i);
    }
    const ticks = [...seen.keys()].sort((a, b) => a - b);
    let lost = 0;
    for (let tick = ticks[0] + 1; tick < ticks[ticks.length - 1]; tick++) lost += points - (seen.get(tick) || new Set()).size;
    return { points: rows.length - bad, bad, wrong, lost };
}

const [url, points, warmS, windowS, folder] = process.argv.slice(2);
main(url, Number(points), Number(warmS), Number(windowS), folder).catch((error) => {
    console.error(error);
    process.exit(1);
});
